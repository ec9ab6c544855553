// A tour of minikv: a registry, values, ttls, locks, watches. In a program of your own: import … from 'minikv'.

import { Registry } from '../node/index.mjs'

// A registry that every thread finds under its name; entries live for a minute unless told otherwise.
const kv = new Registry('tour', { defaultTtl: 60_000 })

// Put and get. An entry says what it is, who put it and how long it lives.
kv.put('balance', 100)
const entry = kv.get('balance')
console.log('balance:', entry.value, entry.type, 'by', entry.node)

// A ttl of its own, in milliseconds.
const short = kv.put('session', 'abc', { ttl: 5000 })
console.log('session expires in', short.expiresIn, 'ms')

// A lock with a label: who does not hold it may not write.
await kv.lock('balance', { owner: 'worker-1' })
try {
  kv.put('balance', 0, { owner: 'worker-2' })
} catch (error) {
  console.log('refused:', error.code)
}
kv.unlock('balance', { owner: 'worker-1' })

// The scoped form: the guard writes under its own lock.
await kv.locked('balance', { wait: 5000 }, (held) => {
  console.log('guarded:', held.put(90).value)
})

// A counter.
kv.incr('visits')
console.log('visits:', kv.incr('visits', 2).value)

// Everything that happens under a prefix. Leaving the loop ends the watch.
const watch = kv.watch('user:')
kv.put('user:1', { name: 'ann' })
kv.delete('user:1')
let seen = 0
for await (const event of watch) {
  console.log('event:', event.type, event.key)
  if (++seen === 2) break
}

kv.putMany([
  ['user:2', 'bob'],
  ['user:3', 'eve'],
])
console.log('users:', kv.keys('user:').sort())

await kv.stop()
