'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { spawnSync } = require('node:child_process')
const test = require('node:test')
const { folder, run } = require('./helpers')

test('the example of the interface runs as it stands', async () => {
  const { code, stdout, stderr } = await run(`(async () => {
const { Registry } = require('minikv')                     // or: import { Registry } from 'minikv'; full TypeScript types, get<T>()
const kv = new Registry('wallet', { defaultTtl: 60_000 })
kv.put('balance', 100, { ttl: 1000 }); kv.get('balance')   // frozen Entry | null: time and exp in ms (number), timeNs expNs fence (bigint), toJSON(); kv.value(key): value | undefined
await kv.lock('balance', { owner: 'w1', wait: 500 })       // lock with put: await kv.lock(key, { put: value }); kv.put itself takes no lock option, so that it never waits
kv.unlock('balance', { owner: 'w1' })
await kv.locked('balance', { wait: 5000 }, async (held) => { held.signal; held.put(90) })      // AbortSignal accepted and given
setTimeout(() => kv.put('wallet', 1), 1); setTimeout(() => kv.stop(), 5)
for await (const event of kv.watch('wal')) { console.log(event.type, event.key) }
const again = new Registry('wallet')
console.log(Registry.open('wallet').count())               // also from a worker thread: one table, no copies
await again.stop()
  })()`)
  assert.equal(code, 0, stderr)
  assert.equal(stdout, 'put wallet\n0\n')
})

test('the snippets of index.d.ts run', async () => {
  const types = fs.readFileSync(path.join(folder, 'index.d.ts'), 'utf8')
  const snippets = [...types.matchAll(/```js\n([^]*?)```/g)].map((match) => match[1].replace(/^ *\* ?/gm, ''))
  assert.ok(snippets.length > 0)
  for (const snippet of snippets) {
    const { code, stderr } = await run(`(async () => {\n${snippet}\n})()`)
    assert.equal(code, 0, stderr)
  }
})

test('the tour runs', () => {
  const tour = path.join(folder, '../examples/tour.mjs')
  const { status, stdout, stderr } = spawnSync(process.execPath, [tour], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  assert.match(stdout, /locked/)
  assert.ok(fs.readFileSync(tour, 'utf8').split('\n').length <= 61)
})

// make demo runs it, with the other languages.
test('the demo says what it wants', () => {
  const demo = path.join(folder, '../examples/demo/demo.mjs')
  const { status, stderr } = spawnSync(process.execPath, [demo], { encoding: 'utf8' })
  assert.equal(status, 1)
  assert.match(stderr, /^usage: demo/)
})
