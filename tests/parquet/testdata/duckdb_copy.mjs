// Writes the result of a query as a Parquet file of DuckDB's own.
import { DuckDBInstance } from '@duckdb/node-api'

const [query, file] = process.argv.slice(2)
const instance = await DuckDBInstance.create(':memory:')
const connection = await instance.connect()
await connection.run(`copy (${query}) to '${file}' (format parquet)`)
