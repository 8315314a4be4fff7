// Prints the rows of each query that is given, one JSON object a line, as DuckDB itself writes it.
import { DuckDBInstance } from '@duckdb/node-api'

const instance = await DuckDBInstance.create(':memory:')
const connection = await instance.connect()
for (const query of process.argv.slice(2)) {
  const result = await connection.runAndReadAll(`select to_json(t)::varchar as line from (${query}) t`)
  for (const [line] of result.getRows()) console.log(line)
}
