// duckdb_loop.mjs QUERY LINK STOP: asks again and again until there is a file STOP, each time of the directory that LINK leads to,
// $DIR in the query; prints each answer, or the error, as a line of JSON.
import { existsSync, realpathSync } from 'node:fs'
import { DuckDBInstance } from '@duckdb/node-api'

const [query, link, stop] = process.argv.slice(2)
const connection = await (await DuckDBInstance.create(':memory:')).connect()
do {
  try {
    const reader = await connection.runAndReadAll(query.replace('$DIR', realpathSync(link)))
    for (const row of reader.getRowObjectsJson()) console.log(JSON.stringify(row))
  } catch (e) {
    console.log(JSON.stringify({ error: String(e.message ?? e) }))
  }
} while (!existsSync(stop))
