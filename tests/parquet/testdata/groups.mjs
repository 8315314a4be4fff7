// Groups the records of the JSON file itself by model and prompt: number and rate of success.
import { readFileSync } from 'node:fs'

const groups = new Map()
for (const [model, { results }] of Object.entries(JSON.parse(readFileSync(process.argv[2], 'utf8')).models)) {
  for (const r of results) {
    const key = JSON.stringify([model, r.prompt])
    const g = groups.get(key) ?? { model, prompt: r.prompt, n: 0, good: 0 }
    g.n++
    g.good += r.success ? 1 : 0
    groups.set(key, g)
  }
}
for (const { model, prompt, n, good } of groups.values()) console.log(JSON.stringify({ model, prompt, n, rate: good / n }))
