// One row for one store, in nanoseconds a call: rows.mjs ROW STORE ENTRIES.
import { createRequire } from 'node:module'
import path from 'node:path'

const [row, store, entries] = process.argv.slice(2)
const peers = createRequire(path.resolve('target/bench-node/package.json'))
const key = (number) => `session:${String(number).padStart(12, '0')}`

function open() {
  if (store === 'minikv') {
    const { Registry } = createRequire(import.meta.url)('../../node/index.js')
    const kv = new Registry()
    return { get: (k) => kv.value(k), put: (k, v) => kv.put(k, v) }
  }
  if (store === 'lru-cache') {
    const { LRUCache } = peers('lru-cache')
    const cache = new LRUCache({ max: 2_000_000, ttl: 3_600_000 })
    return { get: (k) => cache.get(k), put: (k, v) => cache.set(k, v) }
  }
  if (store === 'node-cache') {
    const NodeCache = peers('node-cache')
    const cache = new NodeCache({ stdTTL: 3600 })
    return { get: (k) => cache.get(k), put: (k, v) => cache.set(k, v) }
  }
  if (store === 'ioredis') {
    const Redis = peers('ioredis')
    const client = new Redis({ path: process.argv[5] })
    return { get: (k) => client.get(k), put: (k, v) => client.set(k, v), waits: true }
  }
  if (store === 'keyv') {
    const Keyv = peers('keyv').default
    const keyv = new Keyv()
    return { get: (k) => keyv.get(k), put: (k, v) => keyv.set(k, v), waits: true }
  }
  const map = new Map()
  return { get: (k) => map.get(k), put: (k, v) => map.set(k, v) }
}

const { get, put, waits } = open()
const value = 'x'.repeat(40)
// What gives promises is awaited one by one, as a program does that needs the value.
for (let number = 0; number < Number(entries); number++) waits ? await put(key(number), value) : put(key(number), value)
const keys = Array.from({ length: waits ? 20_000 : 300_000 }, (_, n) => key((n * 7919) % 1000))
const call = row === 'node-get' ? get : (k) => put(k, value)
const run = () => { for (const k of keys) call(k) } // prettier-ignore
const runAsync = async () => { for (const k of keys) await call(k) } // prettier-ignore
await (waits ? runAsync() : run())
const started = process.hrtime.bigint()
await (waits ? runAsync() : run())
console.log(Number(process.hrtime.bigint() - started) / keys.length)
process.exit(0)
