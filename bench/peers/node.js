// What careful Node programs do.
const fs = require('fs')
const lockfile = require('proper-lockfile')
const write = require('write-file-atomic')

const [, , path, n, text] = process.argv
const value = JSON.parse(text)

async function add(i) {
  const release = await lockfile.lock(path, { retries: { retries: 10000, minTimeout: 1, maxTimeout: 50, factor: 1.1 } })
  try {
    const data = JSON.parse(fs.readFileSync(path, 'utf8'))
    data.added[`w${n}-${i % 50}`] = { ...value, i }
    await write(path, JSON.stringify(data, null, 2))
  } finally {
    await release()
  }
}

async function main() {
  process.stdout.write('ready\n')
  const until = parseInt(await new Promise(resolve => process.stdin.once('data', resolve)))
  const waits = []
  for (let i = 0; Date.now() < until; i++) {
    const began = process.hrtime.bigint()
    await add(i)
    waits.push(Number((process.hrtime.bigint() - began) / 1000n))
  }
  process.stdout.write(JSON.stringify({ ops: waits.length, waits }) + '\n')
  process.exit(0)
}
main()
