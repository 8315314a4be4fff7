// Prints how long a query takes DuckDB, in seconds: the median of 21 runs in one process, which has opened nothing before.
import { DuckDBInstance } from '@duckdb/node-api'

const instance = await DuckDBInstance.create(':memory:')
const connection = await instance.connect()
const times = []
for (let i = 0; i < 21; i++) {
  const began = performance.now()
  await (await connection.run(process.argv[2])).getRows()
  times.push((performance.now() - began) / 1000)
}
console.log(JSON.stringify({ seconds: times.sort((a, b) => a - b)[10] }))
