'use strict'

const assert = require('node:assert/strict')
const { once } = require('node:events')
const path = require('node:path')
const test = require('node:test')
const { Worker } = require('node:worker_threads')
const { folder, start, refuses } = require('./helpers')

const seconds = Number(process.env.MINIKV_HAMMER_SECONDS || 30)

test(`four workers hammer one registry for ${seconds} s`, async (t) => {
  const kv = start(t, 'hammer')
  kv.put('held', { n: 0 })
  kv.put('locked', 0)
  kv.put('busy', 0)
  const watch = kv.watch({ key: 'incr', capacity: 1 << 24 })
  let seen = 0
  const watching = (async () => {
    for await (const event of watch) {
      assert.equal(event.type, 'put')
      assert.equal(event.entry.value, ++seen)
    }
  })()
  const workers = [0, 1, 2, 3].map(
    (me) => new Worker(path.join(__dirname, 'hammer.js'), { workerData: { me, seconds, name: 'hammer' } }),
  )
  const results = await Promise.all(
    workers.map(async (worker) => {
      const [done] = await once(worker, 'message')
      await once(worker, 'exit')
      return done
    }),
  )
  const sum = (field) => results.reduce((total, done) => total + done[field], 0)
  assert.ok(results.every((done) => done.incr > 10), 'everybody had a turn')
  assert.equal(kv.value('incr'), sum('incr'))
  assert.equal(kv.value('update').n, sum('update'))
  assert.equal(kv.value('held').n, sum('held'))
  assert.equal(kv.value('locked'), sum('locked'))
  assert.equal(sum('seen'), sum('put'))
  assert.equal(sum('order'), 0)
  assert.equal(sum('computed'), kv.count('lazy:'), 'each value was computed once')
  for (const key of ['held', 'locked', 'busy']) assert.equal(kv.get(key).lock, false, key)
  await kv.stop()
  await watching
  assert.equal(seen, sum('incr'))
})

/** A worker that has run `source` on the registry `name`, and says so. */
async function worker(name, source) {
  const worker = new Worker(
    `const { parentPort } = require('node:worker_threads')
     const kv = require(${JSON.stringify(folder)}).Registry.open(${JSON.stringify(name)});
     (async () => { ${source}; parentPort.postMessage('ready'); setInterval(() => {}, 1000) })()`,
    { eval: true },
  )
  await once(worker, 'message')
  return worker
}

test('a worker that is terminated gives back what it waited for and held', async (t) => {
  const kv = start(t, 'terminated')
  kv.put('k', 1)
  kv.put('guarded', 1)
  await kv.lock('k', { owner: 'main' })
  const workers = await Promise.all([
    worker('terminated', `kv.lock('k', { owner: 'w', wait: Infinity })`),
    worker('terminated', `kv.locked('k', { wait: Infinity }, () => {})`),
    worker('terminated', `kv.watch().next(); kv.watch({ capacity: 5 })`),
    worker('terminated', `globalThis.held = await kv.locked('guarded')`),
    worker('terminated', `kv.getOrPut('lazy', () => new Promise(() => {}))`),
  ])
  const { waiters, watchers } = kv.stats()
  assert.deepStrictEqual([waiters, watchers, kv.get('guarded').lock], [2, 2, true])
  const guarded = kv.locked('guarded', { wait: Infinity }, (held) => held.incr().value)
  const lazy = kv.getOrPut('lazy', () => 'of the main thread')
  await Promise.all(workers.map((worker) => worker.terminate()))
  assert.equal(await guarded, 2)
  assert.equal((await lazy).value, 'of the main thread')
  const after = kv.stats()
  assert.deepStrictEqual([after.waiters, after.watchers], [0, 0])
  // The place in the queue is free: the next one gets the lock at once.
  kv.unlock('k', { owner: 'main' })
  assert.equal((await kv.lock('k', { owner: 'next' })).holder.owner, 'next')
})

test('workers that are terminated at any moment harm nothing', async (t) => {
  const kv = start(t, 'harm')
  kv.put('n', 0)
  const busy = `
    const loop = async () => { for (;;) {
      kv.incr('count'); kv.update('n', (n) => n + 1)
      await kv.locked('guard', { wait: Infinity, create: true }, (held) => held.put(1))
      await new Promise(setImmediate)
    } }
    loop(); loop(); (async () => { for await (const event of kv.watch()) event.entry })()`
  for (let round = 0; round < 10; round++) {
    const workers = await Promise.all([worker('harm', busy), worker('harm', busy)])
    const watch = kv.watch({ key: 'count', capacity: 1 << 20 }).ref()
    for (let n = 0; n < 20; n++) await watch.next()
    watch.close()
    await Promise.all(workers.map((worker) => worker.terminate()))
    assert.equal(await kv.locked('guard', { wait: 60_000, create: true }, (held) => held.owner.length > 0), true)
    assert.equal(kv.stats().watchers, 0)
    assert.equal(kv.stats().waiters, 0)
  }
})

test('threads share one table and wake each other', async (t) => {
  const kv = start(t, 'shared')
  kv.put('k', 1)
  await kv.lock('k', { owner: 'main' })
  const other = await worker('shared', `
    const w = kv.watch('answer').ref()
    kv.lock('k', { owner: 'w', wait: Infinity }).then(() => kv.put('locked', true))
    ;(async () => { for await (const e of w) kv.put('echo', e.entry.value + 1) })()`) // prettier-ignore
  const watch = kv.watch().ref()
  kv.unlock('k', { owner: 'main' })
  kv.put('answer', 41)
  const seen = new Set()
  for await (const event of watch) {
    if (event.type === 'put') seen.add(`${event.key} ${event.entry.value}`)
    if (seen.has('locked true') && seen.has('echo 42')) break
  }
  assert.equal(kv.get('k').holder.owner, 'w')
  await refuses('locked', () => kv.unlock('k'))
  await kv.stop()
  await other.terminate()
})
