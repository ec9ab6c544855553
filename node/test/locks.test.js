'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const { setTimeout: sleep } = require('node:timers/promises')
const { Registry } = require('minikv')
const { start, refuses } = require('./helpers')

test('a lock waits in the order of arrival', async (t) => {
  const kv = start(t)
  kv.put('k', 1)
  await kv.lock('k', { owner: 'first' })
  const order = []
  const waits = ['a', 'b', 'c'].map(async (owner) => {
    await kv.lock('k', { owner, wait: 60_000 })
    order.push(owner)
    kv.unlock('k', { owner })
  })
  assert.equal(kv.stats().waiters, 3)
  kv.unlock('k', { owner: 'first' })
  await Promise.all(waits)
  assert.deepStrictEqual(order, ['a', 'b', 'c'])
})

test('a wait runs out, on the manual clock before advance returns', async (t) => {
  const kv = start(t, { clock: 'manual' })
  kv.put('k', 1)
  await kv.lock('k', { owner: 'a', lease: 1000 })
  const short = kv.lock('k', { owner: 'b', wait: 10 })
  const long = kv.lock('k', { owner: 'c', wait: Infinity })
  kv.advance(10)
  await refuses('locked', () => short)
  kv.advance(990)
  assert.equal((await long).holder.owner, 'c')
  const system = start(t)
  system.put('k', 1)
  await system.lock('k', { owner: 'a' })
  await refuses('locked', () => system.lock('k', { owner: 'b', wait: 5 }))
})

test('lock with put stores and locks in one step', async (t) => {
  const kv = start(t, { clock: 'manual' })
  assert.equal(await kv.lock('k'), null)
  const entry = await kv.lock('k', { put: { a: 1 }, ttl: 100, owner: 'w' })
  assert.deepStrictEqual([entry.value, entry.lock, entry.expiresIn], [{ a: 1 }, true, 100])
  const error = await refuses('conflict', () => kv.lock('k', { put: 2, ifAbsent: true, owner: 'w' }))
  assert.deepStrictEqual(error.entry.value, { a: 1 })
})

test('an abort leaves the queue and gives back what was granted meanwhile', async (t) => {
  const kv = start(t)
  kv.put('k', 1)
  await kv.lock('k', { owner: 'a' })
  for (const call of [
    (signal) => kv.lock('k', { owner: 'b', wait: Infinity, signal }),
    (signal) => kv.locked('k', { wait: Infinity, signal }),
    (signal) => kv.locked('k', { wait: Infinity, signal }, () => assert.fail('it never gets the lock')),
  ]) {
    const reason = { mine: true }
    const abort = new AbortController()
    const wait = call(abort.signal)
    assert.equal(kv.stats().waiters, 1)
    abort.abort(reason)
    assert.equal(kv.stats().waiters, 0)
    await assert.rejects(wait, (error) => error === reason)
    // Aborted already: nothing is asked for.
    await assert.rejects(call(abort.signal), (error) => error === reason)
    assert.equal(kv.stats().waiters, 0)

    // Granted by this very thread, and aborted before the promise could know.
    const late = new AbortController()
    const granted = call(late.signal)
    kv.unlock('k', { owner: 'a' })
    assert.equal(kv.get('k').lock, true)
    late.abort(reason)
    await assert.rejects(granted, (error) => error === reason)
    assert.equal(kv.get('k').lock, false, 'given back')
    await kv.lock('k', { owner: 'a' })
  }
  await refuses('invalid_key', () => kv.lock('', { signal: AbortSignal.abort() }))
  // An abort after the end changes nothing.
  kv.unlock('k', { owner: 'a' })
  const after = new AbortController()
  await kv.lock('k', { owner: 'b', signal: after.signal })
  after.abort()
  assert.equal(kv.get('k').holder.owner, 'b')
})

test('stop ends every wait', async (t) => {
  const kv = start(t)
  kv.put('k', 1)
  await kv.lock('k', { owner: 'a' })
  const waits = [
    kv.lock('k', { owner: 'b', wait: Infinity }),
    kv.locked('k', { wait: Infinity }),
    kv.locked('k', { wait: Infinity }, () => assert.fail()),
  ]
  await kv.stop()
  for (const wait of waits) await refuses('stopped', () => wait)
  await kv.stop()
})

test('locked holds the lock for the time of its function', async (t) => {
  const kv = start(t, { clock: 'manual' })
  kv.put('balance', 100)
  const result = await kv.locked('balance', { wait: 5000 }, async (held) => {
    assert.deepStrictEqual([held.key, held.lost, held.signal.aborted], ['balance', false, false])
    assert.equal(held.get().fence, held.fence)
    assert.equal(held.get().holder.owner, held.owner)
    await refuses('locked', () => kv.put('balance', 0))
    assert.equal(held.put(90, { ttl: 1000 }).value, 90)
    assert.equal(held.incr().value, 91)
    assert.equal(held.incr(-2n).value, 89)
    assert.equal(held.update((value) => value + 1).value, 90)
    assert.equal(held.touch('5s').expiresIn, 5000)
    assert.equal(held.persist().exp, null)
    held.check()
    await sleep(1)
    return 'result'
  })
  assert.equal(result, 'result')
  assert.deepStrictEqual([kv.value('balance'), kv.get('balance').lock], [90, false])
  await refuses('not_found', () => kv.locked('absent', () => assert.fail()))
  assert.equal(await kv.locked('balance', (held) => held.owner.length > 0), true)
})

test('locked without a function gives the guard itself', async (t) => {
  const kv = start(t, { clock: 'manual' })
  kv.put('k', 1)
  const held = await kv.locked('k', { owner: 'me' })
  assert.equal(held.owner, 'me')
  await held[Symbol.asyncDispose]()
  assert.equal(kv.get('k').lock, false)
  held.release()
  held[Symbol.dispose]()
  await refuses('lock_lost', () => held.put(1))
  await refuses('lock_lost', () => held.check())
  const other = await kv.locked('k')
  other[Symbol.dispose]()
  assert.equal(kv.get('k').lock, false)
  const created = await kv.locked('new', { create: true })
  assert.equal(created.get().value, null)
  created.release()
  assert.equal(kv.contains('new'), false)
  const deleting = await kv.locked('k')
  assert.equal(deleting.delete().value, 1)
  deleting.release()
  assert.equal(deleting.lost, false)
})

test('a lock that is lost tells, and leaving fails', async (t) => {
  const kv = start(t, { clock: 'manual' })
  kv.put('k', 1, { ttl: 100 })
  let seen
  const leaving = kv.locked('k', async (held) => {
    const aborted = new Promise((resolve) => held.signal.addEventListener('abort', resolve))
    kv.advance(100)
    assert.equal(held.signal.aborted, true, 'before advance returns')
    await aborted
    assert.equal(held.lost, true)
    seen = held.signal.reason
    await refuses('lock_lost', () => held.put(2))
    return 'result'
  })
  await refuses('lock_lost', () => leaving)
  assert.equal(seen.code, 'lock_lost')
  // Another error comes first.
  const own = new Error('mine')
  kv.put('k', 1, { ttl: 100 })
  const failing = kv.locked('k', async () => {
    kv.advance(100)
    throw own
  })
  await assert.rejects(failing, (error) => error === own)
  // By itself, from another thread: the sweeper's.
  const system = start(t)
  system.put('k', 1, { ttl: 20 })
  const held = await system.locked('k')
  // A held lock does not keep the process alive, so that something else must.
  const alive = setInterval(() => {}, 1000)
  await new Promise((resolve) => held.signal.addEventListener('abort', resolve))
  clearInterval(alive)
  assert.equal(held.lost, true)
  await refuses('lock_lost', () => held.release())
})

test('a release tells nobody of a loss', async (t) => {
  const kv = start(t, { clock: 'manual' })
  kv.put('k', 1)
  const held = await kv.locked('k', { lease: 100 })
  kv.advance(1000)
  assert.equal(held.lost, false, 'renewed')
  held.release()
  kv.advance(1000)
  assert.deepStrictEqual([held.lost, held.signal.aborted], [false, false])
})

test('locked is fair among many', async (t) => {
  const kv = start(t)
  kv.put('n', 0)
  const order = []
  await Promise.all(
    Array.from({ length: 100 }, (_, n) =>
      kv.locked('n', { wait: Infinity }, async (held) => {
        order.push(n)
        const value = held.get().value
        await sleep(0)
        held.put(value + 1)
      }),
    ),
  )
  assert.equal(kv.value('n'), 100)
  assert.deepStrictEqual(order, [...order.keys()])
})

test('a guard that nobody has any more gives its lock back', async (t) => {
  const { Session } = require('node:inspector')
  const session = new Session()
  session.connect()
  t.after(() => session.disconnect())
  const collect = () =>
    new Promise((resolve) => session.post('HeapProfiler.collectGarbage', () => setImmediate(resolve)))
  const kv = start(t)
  kv.put('k', 1)
  await (async () => void (await kv.locked('k')))()
  for (let at = 0; kv.get('k').lock && at < 200; at++) await collect()
  assert.equal(kv.get('k').lock, false)
})

test('getOrPut computes once and the others wait', async (t) => {
  const kv = start(t)
  let computed = 0
  const calls = Array.from({ length: 10 }, () =>
    kv.getOrPut('k', async () => {
      computed++
      await sleep(5)
      return { n: computed }
    }, { ttl: 60_000 }), // prettier-ignore
  )
  const entries = await Promise.all(calls)
  assert.equal(computed, 1)
  for (const entry of entries) assert.deepStrictEqual(entry.value, { n: 1 })
  assert.ok(kv.get('k').expiresIn > 0)
  assert.deepStrictEqual((await kv.getOrPut('k', () => assert.fail())).value, { n: 1 })
})

test('getOrPut lets the next one try when a computation fails', async (t) => {
  const kv = start(t)
  const own = new Error('mine')
  const first = kv.getOrPut('k', async () => {
    await sleep(5)
    throw own
  })
  const second = kv.getOrPut('k', () => 2)
  await assert.rejects(first, (error) => error === own)
  assert.equal((await second).value, 2)
  await refuses('invalid_value', () => kv.getOrPut('l', () => undefined))
  assert.equal((await kv.getOrPut('l', () => 3)).value, 3)
})

test('getOrPut within its own computation is refused, elsewhere it is fine', async (t) => {
  const kv = start(t)
  await refuses('invalid_argument', () => kv.getOrPut('k', () => kv.getOrPut('k', () => 1)), /own computation/)
  await refuses('invalid_argument', () =>
    kv.getOrPut('a', async () => (await kv.getOrPut('b', async () => (await kv.getOrPut('a', () => 1)).value)).value),
  )
  assert.equal((await kv.getOrPut('a', async () => (await kv.getOrPut('b', () => 5)).value + 1)).value, 6)
  const other = start(t)
  assert.equal((await kv.getOrPut('k', async () => (await other.getOrPut('k', () => 5)).value)).value, 5)
})

test('getOrPut can be aborted, by who waits and by who computes', async (t) => {
  const kv = start(t)
  const reason = new Error('enough')
  const [computing, waiting] = [new AbortController(), new AbortController()]
  let release
  const gate = new Promise((resolve) => (release = resolve))
  const first = kv.getOrPut('k', () => gate, { signal: computing.signal })
  const second = kv.getOrPut('k', () => assert.fail(), { signal: waiting.signal })
  const third = kv.getOrPut('k', () => 3)
  waiting.abort(reason)
  await assert.rejects(second, (error) => error === reason)
  computing.abort(reason)
  await assert.rejects(first, (error) => error === reason)
  assert.equal((await third).value, 3)
  release(1)
  await sleep(1)
  assert.equal(kv.value('k'), 3)
  await assert.rejects(kv.getOrPut('n', () => assert.fail(), { signal: AbortSignal.abort(reason) }), (e) => e === reason)
})

test('getOrPut ends when the registry stops', async (t) => {
  const kv = start(t)
  let release
  const first = kv.getOrPut('k', () => new Promise((resolve) => (release = resolve)))
  const second = kv.getOrPut('k', () => 1)
  await kv.stop()
  await refuses('stopped', () => second)
  release(1)
  await refuses('stopped', () => first)
})

test('a registry without a name lasts as long as a guard of it', async () => {
  const held = await (async () => {
    const kv = new Registry()
    kv.put('k', 1)
    return kv.locked('k')
  })()
  global.gc?.()
  await sleep(1)
  assert.equal(held.put(2).value, 2)
  held.release()
})

test('a guard whose lock is lost before anybody has the guard tells so', async (t) => {
  const kv = start(t, { clock: 'manual' })
  kv.put('k', 1, { ttl: 100 })
  await kv.lock('k', { owner: 'a' })
  const granted = kv.locked('k', { wait: 1000 })
  kv.unlock('k', { owner: 'a' })
  kv.advance(0)
  kv.advance(100)
  const held = await granted
  assert.equal(held.lost, true)
  assert.equal(held.signal.reason?.code, 'lock_lost')
})
