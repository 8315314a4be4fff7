package policy

import _ "embed"

// Schema is the JSON Schema (draft 2020-12) of a policy file, for editors. It says what a schema can say: that a regular
// expression or a jq program is none, and that renames go on renaming, only Parse finds out.
//
//go:embed schema.json
var Schema []byte
