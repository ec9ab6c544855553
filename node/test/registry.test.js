'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')
const { pathToFileURL } = require('node:url')
const { Registry } = require('minikv')
const { start, refuses } = require('./helpers')

test('a name is taken until the registry stops', async (t) => {
  const kv = start(t, 'reg-a', { defaultTtl: 60_000 })
  await refuses('already_started', () => new Registry('reg-a'))
  kv.put('k', 1)
  assert.equal(Registry.open('reg-a').value('k'), 1)
  await kv.stop()
  await refuses('not_found', () => Registry.open('reg-a'))
  await refuses('stopped', () => kv.get('k'))
  await refuses('stopped', () => kv.options())
  const again = start(t, 'reg-a')
  assert.equal(again.count(), 0)
})

test('existOk opens the running one if the options agree', async (t) => {
  const kv = start(t, 'reg-b', { defaultTtl: 60_000, existOk: true })
  kv.put('k', 1)
  const same = new Registry('reg-b', { defaultTtl: '60s', existOk: true })
  assert.equal(same.value('k'), 1)
  await refuses('already_started', () => new Registry('reg-b', { defaultTtl: 1, existOk: true }), /default_?ttl/i)
})

test('options are plain data that can be started again', async (t) => {
  const given = { name: 'reg-c', node: 'n', defaultTtl: 1500, lockLease: '30s', maxEntries: 5, clock: 'manual' }
  const kv = start(t, given)
  const options = kv.options()
  assert.deepStrictEqual(options, {
    name: 'reg-c',
    node: 'n',
    defaultTtl: '1500ms',
    maxValueBytes: 16777216,
    maxEntries: 5,
    maxBytes: null,
    maxWatchers: 1024,
    lockLease: '30s',
    clock: 'manual',
    cluster: null,
    listen: null,
    peers: null,
    discovery: null,
    failureTimeout: null,
    tls: null,
  })
  await kv.stop()
  const stored = JSON.parse(JSON.stringify(options))
  const again = start(t, stored)
  assert.deepStrictEqual(again.options(), options)
  await again.stop()
  const named = start(t, 'reg-c', stored)
  assert.deepStrictEqual(named.options(), options)
})

test('wrong options are named', async () => {
  for (const [options, message] of [
    [{ defualtTtl: 1 }, /did you mean 'defaultTtl'/],
    [{ default_ttl: 1 }, /did you mean 'defaultTtl'/],
    [{ defaultTtl: -1 }, /defaultTtl/],
    [{ defaultTtl: '60' }, /defaultTtl/],
    [{ defaultTtl: true }, /defaultTtl/],
    [{ maxEntries: 0 }, /max_?entries/i],
    [{ maxEntries: 1.5 }, /maxEntries/],
    [{ maxValueBytes: 2 ** 40 }, /max_?value_?bytes/i],
    [{ node: 5 }, /node/],
    [{ node: '' }, /node/],
    [{ name: 5 }, /name/],
    [{ name: '\ud800' }, /surrogate/],
    [{ clock: 'sundial' }, /clock/],
    [{ clock: {} }, /clock/],
    [{ ints: 'big' }, /ints/],
    [{ existOk: 1 }, /existOk/],
    [{ lockLease: '11m' }, /lease/i],
    [[], /plain object/],
  ]) {
    await refuses('invalid_argument', () => new Registry(options), message)
  }
  for (const name of [5, true, Symbol('s'), '', 'x'.repeat(256), () => 1]) {
    await refuses('invalid_argument', () => new Registry(name))
  }
  await refuses('invalid_argument', () => new Registry('a', { name: 'b' }), /twice/)
  for (const name of [undefined, null, 5, {}]) await refuses('invalid_argument', () => Registry.open(name))
  await refuses('not_found', () => Registry.open('nobody'))
  assert.throws(() => Registry('x'), TypeError)
})

test('options come from a file', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'minikv-'))
  t.after(() => fs.rmSync(folder, { recursive: true }))
  const file = path.join(folder, 'wallet.toml')
  fs.writeFileSync(file, 'name = "reg-d"\ndefault_ttl = "60s"\n')
  const kv = Registry.fromConfig(file)
  t.after(() => kv.stop())
  assert.deepStrictEqual([kv.options().name, kv.options().defaultTtl], ['reg-d', '60s'])
  await refuses('already_started', () => Registry.fromConfig(file))
  const same = Registry.fromConfig(pathToFileURL(file), { existOk: true, ints: 'bigint' })
  assert.equal(same.put('k', 1).value, 1n)
  fs.writeFileSync(file, 'defualt_ttl = "60s"\n')
  await refuses('invalid_argument', () => Registry.fromConfig(file), /did you mean/)
  await refuses('io', () => Registry.fromConfig(path.join(folder, 'none.toml')))
  await refuses('io', () => Registry.fromConfig(folder))
  for (const wrong of [undefined, 5, 'a\0b', new URL('http://x/')]) await refuses('invalid_argument', () => Registry.fromConfig(wrong))
})

test('leaving the scope stops what it started, and releases what it opened', async () => {
  const kv = new Registry('reg-e')
  const opened = Registry.open('reg-e')
  opened[Symbol.dispose]()
  await refuses('stopped', () => opened.get('k'))
  opened[Symbol.dispose]()
  const other = Registry.open('reg-e')
  await other[Symbol.asyncDispose]()
  assert.equal(kv.put('k', 1).value, 1)
  const existing = new Registry('reg-e', { existOk: true })
  existing[Symbol.dispose]()
  assert.equal(kv.value('k'), 1)
  await kv[Symbol.asyncDispose]()
  await refuses('stopped', () => kv.get('k'))
  const second = new Registry('reg-e')
  second[Symbol.dispose]()
  second[Symbol.dispose]()
  await refuses('not_found', () => Registry.open('reg-e'))
})

test('limits are limits', async (t) => {
  const kv = start(t, { maxEntries: 2, maxWatchers: 1, maxValueBytes: 100 })
  kv.put('a', 1)
  kv.put('b', 1)
  await refuses('limit', () => kv.put('c', 1))
  await refuses('invalid_value', () => kv.put('a', 'x'.repeat(200)))
  const watch = kv.watch()
  await refuses('limit', () => kv.watch())
  watch.close()
  kv.watch().close()
})

test('digests depend on keys and values only', (t) => {
  const [a, b] = [start(t, { node: 'a' }), start(t, { node: 'b' })]
  a.putMany([['x', { p: 1, q: 2 }], ['y', 1]]) // prettier-ignore
  b.put('y', 1, { ttl: 60_000 })
  b.put('x', new Map([['q', 2n], ['p', 1]])) // prettier-ignore
  assert.equal(a.digest(), b.digest())
  b.put('y', 2)
  assert.notEqual(a.digest(), b.digest())
})

test('stats count', async (t) => {
  const kv = start(t, { clock: 'manual' })
  kv.put('k', 1, { ttl: 5 })
  kv.put('l', 1)
  await kv.lock('l', { owner: 'a' })
  const { entries, expiring, locks, waiters, watchers, healthy, workerRestarts } = kv.stats()
  assert.deepStrictEqual([entries, expiring, locks, waiters, watchers, healthy, workerRestarts], [2, 1, 1, 0, 0, true, 0])
  kv.advance(5)
  assert.deepStrictEqual([kv.stats().entries, kv.stats().expired], [1, 1])
})

test('a thousand starts and stops leave nothing behind', async (t) => {
  const threads = () => fs.readdirSync('/proc/self/task').length
  const cycle = async (n) => {
    const kv = new Registry(n % 2 ? `cycle-${n}` : undefined)
    kv.put('k', 'x'.repeat(10_000), { ttl: 60_000 })
    const watch = kv.watch()
    const wait = kv.locked('k', { wait: Infinity }, (held) => held.put(1))
    await wait
    assert.notEqual(watch.tryNext(), null)
    await kv.stop()
  }
  const { Session } = require('node:inspector')
  const session = new Session()
  session.connect()
  t.after(() => session.disconnect())
  const collect = () =>
    new Promise((resolve) => session.post('HeapProfiler.collectGarbage', () => setImmediate(resolve)))
  for (let n = 0; n < 200; n++) await cycle(n)
  await collect()
  const before = { threads: threads(), rss: process.memoryUsage().rss }
  for (let n = 0; n < 1000; n++) {
    await cycle(n)
    if (n % 100 === 0) await collect()
  }
  for (let n = 0; n < 10; n++) await collect()
  assert.ok(threads() <= before.threads, `${threads()} threads, before ${before.threads}`)
  // A cycle that leaked its entry would leave 10 MB; its queue or table far more.
  const grown = process.memoryUsage().rss - before.rss
  assert.ok(grown < 8e6, `grown by ${grown} bytes`)
})
