'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const { setTimeout: sleep } = require('node:timers/promises')
const { start, refuses } = require('./helpers')

const brief = (event) => [event.type, event.key, event.entry?.value]

test('events come in order, to every way of reading', async (t) => {
  const kv = start(t, { clock: 'manual' })
  const watch = kv.watch('user:')
  kv.put('user:1', 'ann', { ttl: 10 })
  kv.put('other', 1)
  await kv.lock('user:1', { owner: 'w' })
  kv.advance(10)
  assert.deepStrictEqual(brief(watch.tryNext()), ['put', 'user:1', 'ann'])
  const { value, done } = await watch.next()
  assert.deepStrictEqual([done, value.type, value.entry.holder.owner], [false, 'lock', 'w'])
  for await (const event of watch) {
    assert.deepStrictEqual(brief(event), ['expire', 'user:1', 'ann'])
    assert.ok(Object.isFrozen(event))
    break
  }
  assert.deepStrictEqual(await watch.next(), { value: undefined, done: true }, 'leaving the loop ends it')
  assert.equal(kv.stats().watchers, 0)
})

test('what watches choose', async (t) => {
  const kv = start(t, { clock: 'manual' })
  kv.put('a', 1)
  kv.put('ab', 2)
  const all = kv.watch()
  const one = kv.watch({ key: 'a', initial: true })
  const bytes = kv.watch(Buffer.from('a'))
  const small = kv.watch({ prefix: 'a', capacity: 2 })
  for (const value of [3, 4, 5]) kv.put('ab', value)
  assert.deepStrictEqual(brief(one.tryNext()), ['put', 'a', 1])
  assert.equal(one.tryNext(), null)
  const drain = (watch) => {
    const events = []
    for (let event; (event = watch.tryNext()) !== null; ) events.push(event)
    return events
  }
  assert.deepStrictEqual(drain(all).map(brief), [3, 4, 5].map((value) => ['put', 'ab', value]))
  assert.equal(drain(bytes).length, 3)
  const [lagged, ...rest] = drain(small)
  assert.deepStrictEqual([lagged.type, lagged.count, lagged.key, lagged.entry], ['lagged', 1, null, null])
  assert.deepStrictEqual(rest.map(brief), [4, 5].map((value) => ['put', 'ab', value]))
})

test('several readers of one watch are answered in order', async (t) => {
  const kv = start(t)
  const watch = kv.watch()
  const reads = [watch.next(), watch.next(), watch.next()]
  setTimeout(() => {
    kv.put('k', 1)
    kv.put('k', 2)
    watch.close()
  }, 1)
  const results = await Promise.all(reads)
  assert.deepStrictEqual(results.map(({ value, done }) => value?.entry.value ?? done), [1, 2, true])
})

test('a watch ends when the registry stops, after what is queued', async (t) => {
  const kv = start(t)
  const watch = kv.watch()
  const seen = []
  const reading = (async () => {
    for await (const event of watch) seen.push(event.entry.value)
  })()
  kv.put('k', 1)
  kv.put('k', 2)
  await kv.stop()
  await reading
  assert.deepStrictEqual(seen, [1, 2])
  await refuses('stopped', () => kv.watch())
})

test('an abort ends a watch with its reason', async (t) => {
  const kv = start(t)
  const reason = new Error('enough')
  const abort = new AbortController()
  const watch = kv.watch({ signal: abort.signal })
  const pending = watch.next()
  setTimeout(() => abort.abort(reason), 1)
  await assert.rejects(pending, (error) => error === reason)
  await assert.rejects(watch.next(), (error) => error === reason)
  assert.throws(() => watch.tryNext(), (error) => error === reason)
  assert.equal(kv.stats().watchers, 0)
  assert.throws(() => kv.watch({ signal: abort.signal }), (error) => error === reason)
  assert.equal(kv.stats().watchers, 0)
  await assert.rejects(async () => {
    const other = new AbortController()
    setTimeout(() => other.abort(reason), 1)
    for await (const event of kv.watch({ signal: other.signal })) assert.fail(event)
  }, (error) => error === reason) // prettier-ignore
})

test('a loop that fails closes its watch', async (t) => {
  const kv = start(t)
  const own = new Error('mine')
  setTimeout(() => kv.put('k', 1), 1)
  await assert.rejects(async () => {
    for await (const _ of kv.watch()) throw own
  }, (error) => error === own) // prettier-ignore
  assert.equal(kv.stats().watchers, 0)
  const disposed = kv.watch()
  disposed[Symbol.dispose]()
  await kv.watch()[Symbol.asyncDispose]()
  assert.equal(kv.stats().watchers, 0)
})

test('no event of a busy registry is lost or doubled', async (t) => {
  const kv = start(t)
  const watch = kv.watch({ capacity: 1 << 20 })
  const total = 20_000
  const writing = (async () => {
    for (let n = 0; n < total; n++) {
      kv.put('n', n)
      if (n % 100 === 0) await sleep(0)
    }
  })()
  let next = 0
  for await (const event of watch) {
    assert.equal(event.entry.value, next++)
    if (next === total) break
  }
  await writing
})

test('expire events come by themselves', async (t) => {
  const kv = start(t)
  const watch = kv.watch().ref()
  for (let n = 0; n < 100; n++) kv.put(`k${n}`, n, { ttl: 5 + (n % 20) })
  let expired = 0
  for await (const event of watch) if (event.type === 'expire' && ++expired === 100) break
  assert.equal(kv.count(), 0)
})

test('a watch that nobody has any more is closed', async (t) => {
  const { Session } = require('node:inspector')
  const session = new Session()
  session.connect()
  t.after(() => session.disconnect())
  const collect = () =>
    new Promise((resolve) => session.post('HeapProfiler.collectGarbage', () => setImmediate(resolve)))
  const kv = start(t)
  const signal = new AbortController().signal
  ;(() => void kv.watch({ signal }))()
  assert.equal(kv.stats().watchers, 1)
  for (let at = 0; kv.stats().watchers > 0 && at < 200; at++) await collect()
  assert.equal(kv.stats().watchers, 0)
})

test('a reader that never runs out of events lets the event loop go on', async (t) => {
  const kv = start(t)
  const watch = kv.watch()
  let turns = 0
  const tick = () => {
    turns++
    timer = setImmediate(tick)
  }
  let timer = setImmediate(tick)
  let read = 0
  kv.put('k', 0)
  for await (const { count } of watch) {
    read += count
    if (read >= 5000) break
    for (let n = 0; n < 2; n++) kv.put('k', read)
    if (read === 1) for (let n = 0; n < 2000; n++) kv.put('k', n)
  }
  clearImmediate(timer)
  assert.ok(turns >= 10, `${turns} turns while ${read} events were read`)
})
