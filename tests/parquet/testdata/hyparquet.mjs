// Prints the rows of each Parquet file that is given, one JSON object a line.
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'

const text = (_, v) => typeof v !== 'bigint' ? v : Number.isSafeInteger(Number(v)) ? Number(v) : `int:${v}`
for (const name of process.argv.slice(2)) {
  const file = await asyncBufferFromFile(name)
  for (const row of await parquetReadObjects({ file, compressors })) console.log(JSON.stringify(row, text))
}
