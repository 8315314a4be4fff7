package policy

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"unicode/utf8"
)

// validator is as much of JSON Schema as the schema uses; a keyword it does not know is an error, so that nothing in the
// schema goes untested.
type validator struct{ root map[string]any }

func newValidator() (*validator, error) {
	v := &validator{}
	return v, json.Unmarshal(Schema, &v.root)
}

func (v *validator) valid(schema map[string]any, x any) (bool, error) {
	for keyword, want := range schema {
		ok, err := v.keyword(schema, keyword, want, x)
		if !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (v *validator) keyword(schema map[string]any, keyword string, want, x any) (bool, error) {
	object, isObject := x.(map[string]any)
	list, isList := x.([]any)
	text, isText := x.(string)
	number, isNumber := x.(float64)
	switch keyword {
	case "$schema", "title", "description", "$defs":
		return true, nil
	case "$ref":
		target := v.root["$defs"].(map[string]any)[strings.TrimPrefix(want.(string), "#/$defs/")]
		return v.valid(target.(map[string]any), x)
	case "type":
		is := map[string]bool{"object": isObject, "array": isList, "string": isText, "integer": isNumber && number == float64(int(number))}
		_, is["boolean"] = x.(bool)
		return is[want.(string)], nil
	case "enum":
		for _, w := range want.([]any) {
			if reflect.DeepEqual(w, x) {
				return true, nil
			}
		}
		return false, nil
	case "const":
		return reflect.DeepEqual(want, x), nil
	case "maxLength":
		return !isText || float64(utf8.RuneCountInString(text)) <= want.(float64), nil
	case "pattern":
		return !isText || regexp.MustCompile(want.(string)).MatchString(text), nil
	case "minimum":
		return !isNumber || number >= want.(float64), nil
	case "minItems":
		return !isList || float64(len(list)) >= want.(float64), nil
	case "maxItems":
		return !isList || float64(len(list)) <= want.(float64), nil
	case "uniqueItems":
		for i := range list {
			for j := range i {
				if reflect.DeepEqual(list[i], list[j]) {
					return false, nil
				}
			}
		}
		return true, nil
	case "items":
		for _, e := range list {
			if ok, err := v.valid(want.(map[string]any), e); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	case "properties":
		for name, s := range want.(map[string]any) {
			if member, there := object[name]; there {
				if ok, err := v.valid(s.(map[string]any), member); !ok || err != nil {
					return false, err
				}
			}
		}
		return true, nil
	case "additionalProperties":
		for name := range object {
			if _, known := schema["properties"].(map[string]any)[name]; !known {
				return false, nil
			}
		}
		return true, nil
	case "required":
		for _, name := range want.([]any) {
			if _, there := object[name.(string)]; isObject && !there {
				return false, nil
			}
		}
		return true, nil
	case "dependentRequired":
		for name, needs := range want.(map[string]any) {
			if _, there := object[name]; !there {
				continue
			}
			for _, need := range needs.([]any) {
				if _, there := object[need.(string)]; !there {
					return false, nil
				}
			}
		}
		return true, nil
	case "not":
		ok, err := v.valid(want.(map[string]any), x)
		return !ok, err
	case "anyOf", "oneOf":
		matched := 0
		for _, s := range want.([]any) {
			ok, err := v.valid(s.(map[string]any), x)
			if err != nil {
				return false, err
			}
			if ok {
				matched++
			}
		}
		return matched == 1 || keyword == "anyOf" && matched > 0, nil
	}
	return false, fmt.Errorf("the validator of this test does not know %q", keyword)
}
