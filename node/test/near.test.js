'use strict'

// Values that are read again come from a cache in front of the registry, which must never show.

const assert = require('node:assert/strict')
const { once } = require('node:events')
const test = require('node:test')
const { Worker } = require('node:worker_threads')
const { Registry } = require('minikv')
const { folder, start, refuses } = require('./helpers')
const { clusterName, member, until } = require('./members')

test('whatever changes a value is seen by the next read', async (t) => {
  const kv = start(t, { clock: 'manual' })
  const changes = [
    [() => kv.put('k', 1), 1],
    [() => kv.set('k', 'text'), 'text'],
    [() => kv.put('k', null), null],
    [() => kv.put('k', true), true],
    [() => kv.put('k', 1.5), 1.5],
    [() => kv.put('k', 5), 5],
    [() => kv.incr('k', 2), 7],
    [() => kv.update('k', (n) => n + 1), 8],
    [() => kv.putMany([['k', 9]]), 9],
    [() => kv.touch('k', 100), 9],
    [() => kv.persist('k'), 9],
    [() => kv.lock('k'), 9],
    [() => kv.unlock('k'), 9],
    [() => kv.locked('k', (held) => held.put(10)), 10],
    [() => kv.delete('k'), 'none'],
    [() => kv.locked('k', { create: true }, (held) => held.put(11)), 11],
    [() => kv.deleteMany(['k']), 'none'],
    [() => kv.getOrPut('k', () => 12), 12],
    [() => kv.clear(), 'none'],
    [() => kv.put('k', 13, { ttl: 100 }), 13],
    [() => kv.advance(99), 13],
    [() => kv.advance(1), 'none'],
    [() => kv.put('k', { n: 14 }), { n: 14 }],
    [() => kv.put('k', 'x'.repeat(2000)), 'x'.repeat(2000)],
    [() => kv.put('k', 2n ** 62n), 2n ** 62n],
    [() => kv.put('k', ''), ''],
  ]
  for (const [change, value] of changes) {
    await change()
    for (let read = 0; read < 3; read++) assert.deepStrictEqual(kv.value('k', 'none'), value, String(change))
  }
  for (const wrong of ['', 'x'.repeat(65_536), 5, null]) await refuses('invalid_key', () => kv.value(wrong))
  await kv.stop()
  for (let read = 0; read < 2; read++) await refuses('stopped', () => kv.value('k'))
})

test('each reader of a list, a map or bytes has a copy of its own', (t) => {
  const kv = start(t)
  for (const value of [[1], { a: 1 }, Buffer.from('b')]) {
    kv.put('k', value)
    const [one, two] = [kv.value('k'), kv.value('k')]
    assert.deepStrictEqual([one, two], [value, value])
    assert.notEqual(one, two)
  }
})

test('a value is not read any more once its entry has expired', (t) => {
  const kv = start(t)
  const mocked = Date.now
  t.after(() => (Date.now = mocked))
  Date.now = () => 0
  for (let round = 0; round < 20; round++) {
    const { exp } = kv.put('k', round, { ttl: 5 })
    let [value, before] = [round, 0]
    while (value !== undefined) {
      before = mocked()
      value = kv.value('k')
      assert.ok(value === undefined || (value === round && before <= exp), `${value} at ${before}, which ended at ${exp}`)
    }
    assert.ok(mocked() >= Math.floor(exp), 'not before it has expired')
  }
})

test('what another thread has written is read at once, without a turn of the event loop', async (t) => {
  const kv = start(t, 'near-threads')
  const finished = new Int32Array(new SharedArrayBuffer(8))
  kv.put('n', 0)
  const rounds = 20_000
  const worker = new Worker(
    `const { workerData: { finished, rounds } } = require('node:worker_threads')
     const kv = require(${JSON.stringify(folder)}).Registry.open('near-threads')
     for (let n = 1; n <= rounds; n++) {
       if (n % 7 === 0) kv.delete('n')
       kv.put('n', n)
       Atomics.store(finished, 0, n)
       kv.put('beside:' + (n % 100), n)
     }`,
    { eval: true, workerData: { finished, rounds } },
  )
  const ended = once(worker, 'exit')
  await once(worker, 'online')
  let [seen, reads] = [0, 0]
  while (seen < rounds) {
    const least = Atomics.load(finished, 0)
    const value = kv.value('n')
    reads++
    if (value === undefined) continue
    assert.ok(value >= least && value >= seen, `read ${value} after ${least} was written and ${seen} read`)
    seen = value
  }
  assert.ok(reads > rounds / 100)
  await ended
})

test('what another member has written is read by all readers alike', async (t) => {
  const cluster = clusterName()
  const a = await member(t, cluster, 'a')
  const b = await member(t, cluster, 'b', a.endpoints())
  a.put('k', 0)
  assert.equal(a.value('k'), 0)
  for (let n = 1; n <= 200; n++) {
    b.put('k', n)
    await until(`${n} has come`, () => {
      // Through the core, then from what was kept: nothing older.
      const { value } = a.get('k')
      const kept = a.value('k')
      assert.ok(kept >= value, `${kept} after ${value}`)
      return kept === n
    })
  }
  b.delete('k')
  await until('it has gone', () => a.value('k') === undefined)
})

test('many handles and many keys', async (t) => {
  const kv = start(t, 'near-many')
  const count = 10_000
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < count; n++) kv.put(`k${n}`, n + round)
    for (let again = 0; again < 3; again++) {
      for (let n = 0; n < count; n++) assert.equal(kv.value(`k${n}`), n + round)
    }
  }
  let handles = Array.from({ length: 50 }, () => Registry.open('near-many'))
  for (let n = 0; n < 20; n++) {
    handles[n].put('k0', n)
    for (const handle of handles) assert.equal(handle.value('k0'), n)
  }
  // What is kept by a handle is not read once it was given back.
  handles[0][Symbol.dispose]()
  await refuses('stopped', () => handles[0].value('k0'))
  assert.equal(handles[1].value('k0'), 19)
  handles = []
  await kv.stop()
  await refuses('stopped', () => kv.value('k0'))
})

test('each handle has ints in its own way', (t) => {
  const kv = start(t, 'near-ints')
  const big = Registry.open('near-ints', { ints: 'bigint' })
  kv.put('k', 5)
  for (let read = 0; read < 2; read++) assert.deepStrictEqual([kv.value('k'), big.value('k')], [5, 5n])
})
