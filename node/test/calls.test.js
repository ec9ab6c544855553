'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const vm = require('node:vm')
const { Registry, MinikvError, KEEP, DELETE } = require('minikv')
const { start, refuses } = require('./helpers')

const wrongKeys = [
  undefined, null, '', 1, 1n, true, Symbol('k'), {}, [], ['k'], () => 1, new Date(), new Map(), new Float32Array(1),
  'x'.repeat(65_536), 'ü'.repeat(32_768), Buffer.alloc(0), Buffer.alloc(65_536), '\ud800', 'a'.repeat(300) + '\udfff',
  new Proxy({}, {}), Object('k'), 'x'.repeat(20 << 20),
] // prettier-ignore

/** Each call that takes a key, with arguments that are right otherwise. */
const withKey = {
  get: (kv, key) => kv.get(key),
  value: (kv, key) => kv.value(key, 1),
  contains: (kv, key) => kv.contains(key),
  put: (kv, key) => kv.put(key, 1),
  set: (kv, key) => kv.set(key, 1),
  delete: (kv, key) => kv.delete(key),
  unlock: (kv, key) => kv.unlock(key),
  persist: (kv, key) => kv.persist(key),
  touch: (kv, key) => kv.touch(key, 1),
  incr: (kv, key) => kv.incr(key),
  update: (kv, key) => kv.update(key, () => 1),
  lock: (kv, key) => kv.lock(key),
  'lock with put': (kv, key) => kv.lock(key, { put: 1 }),
  locked: (kv, key) => kv.locked(key, () => 1),
  getOrPut: (kv, key) => kv.getOrPut(key, () => 1),
  getMany: (kv, key) => kv.getMany(['k', key]),
  putMany: (kv, key) => kv.putMany([['new', 1], [key, 1]]), // prettier-ignore
  deleteMany: (kv, key) => kv.deleteMany(['k', key]),
}

for (const [name, call] of Object.entries(withKey)) {
  test(`${name} refuses what is no key, and nothing changes`, async (t) => {
    const kv = start(t, { clock: 'manual' })
    kv.put('k', 1)
    const before = kv.get('k')
    for (const key of wrongKeys) await refuses('invalid_key', () => call(kv, key))
    assert.deepStrictEqual(kv.get('k'), before)
    assert.equal(kv.count(), 1)
    await kv.stop()
    await refuses('stopped', () => call(kv, 'k'))
    await refuses('stopped', () => call(kv, ''))
  })
}

/** Wrong options, with what the message must say. */
const wrongOptions = [
  [{ ownr: 'a' }, /did you mean 'owner'/],
  [{ owner: 1 }, /owner/],
  [{ owner: '\ud800' }, /surrogate/],
  [{ owner: 'x'.repeat(1025) }, /owner/],
  [{ fence: -1 }, /fence/],
  [{ fence: 1.5 }, /fence/],
  [{ fence: '1' }, /fence/],
  [{ fence: 2n ** 64n }, /fence/],
  [{ fence: -1n }, /fence/],
  [{ ifVersion: 'x' }, /ifVersion is/],
  [{ ifVersion: 1 }, /ifVersion/],
  [1, /plain object/],
  ['x', /plain object/],
  [[1], /plain object/],
  [() => 1, /plain object/],
  [Symbol('x'), /plain object/],
  [new Map([['ttl', 5]]), /plain object/],
  [new AbortController().signal, /plain object/],
  [Object.create({ ttl: 5 }), /plain object/],
]

const wrongPut = [
  [{ ttl: -1 }, /ttl/],
  [{ ttl: NaN }, /ttl/],
  [{ ttl: Infinity }, /ttl/],
  [{ ttl: 1e30 }, /ttl/],
  [{ ttl: '60' }, /ttl/],
  [{ ttl: '1 parsec' }, /ttl/],
  [{ ttl: 1n }, /ttl/],
  [{ ttl: true }, /ttl/],
  [{ ttl: new Date() }, /ttl/],
  [{ ttl: 1, keepTtl: true }, /keep/],
  [{ keepTtl: 1 }, /keepTtl/],
  [{ persist: 'yes' }, /persist/],
  [{ ifAbsent: 0 }, /ifAbsent/],
  [{ lock: true }, /lock/],
  [{ lease: 5 }, /lease/],
  [{ keep_ttl: true }, /keepTtl/],
]

const wrongLock = [
  [{ wait: -1 }, /wait/],
  [{ wait: NaN }, /wait/],
  [{ wait: -Infinity }, /wait/],
  [{ wait: 'soon' }, /wait/],
  [{ lease: 0 }, /lease/],
  [{ lease: Infinity }, /lease/],
  [{ lease: 600_001 }, /lease/],
  [{ signal: {} }, /signal/],
  [{ signal: 1 }, /signal/],
]

const withOptions = {
  put: [(kv, options) => kv.put('k', 2, options), wrongPut],
  set: [(kv, options) => kv.set('new', 2, options), wrongPut],
  putMany: [(kv, options) => kv.putMany([['k', 2]], options), wrongPut],
  getOrPut: [(kv, options) => kv.getOrPut('new', () => 2, options), wrongPut],
  delete: [(kv, options) => kv.delete('k', options), []],
  deleteMany: [(kv, options) => kv.deleteMany(['k'], options), []],
  unlock: [(kv, options) => kv.unlock('k', options), []],
  persist: [(kv, options) => kv.persist('k', options), []],
  touch: [(kv, options) => kv.touch('k', 5, options), []],
  incr: [(kv, options) => kv.incr('k', 5, options), []],
  update: [(kv, options) => kv.update('k', () => 5, options), []],
  clear: [(kv, options) => kv.clear('', options), []],
  lock: [(kv, options) => kv.lock('k', options), [...wrongLock, [{ ttl: 1 }, /give put/], [{ ifAbsent: false }, /put/]]],
  locked: [(kv, options) => kv.locked('k', options, () => assert.fail()), [...wrongLock, [{ put: 1 }, /put/]]],
}

for (const [name, [call, wrong]] of Object.entries(withOptions)) {
  test(`${name} refuses wrong options, and nothing changes`, async (t) => {
    const kv = start(t, { clock: 'manual' })
    kv.put('k', 1)
    const before = kv.get('k')
    for (const [options, message] of [...wrongOptions, ...wrong]) {
      await refuses('invalid_argument', () => call(kv, options), message)
    }
    const own = new Error('mine')
    const throwing = {
      get owner() {
        throw own
      },
    }
    await assert.rejects(async () => call(kv, throwing), (error) => error === own)
    assert.deepStrictEqual(kv.get('k'), before)
    assert.deepStrictEqual(kv.keys(), ['k'])
  })
}

test('options that are undefined or null are not given', async (t) => {
  const kv = start(t, { clock: 'manual', defaultTtl: 5, lockLease: null })
  const none = { owner: undefined, fence: null, ifVersion: undefined, ttl: null, persist: null, keepTtl: undefined }
  assert.equal(kv.put('k', 1, none).expiresIn, 5)
  assert.equal(kv.put('k', 1, null).expiresIn, 5)
  assert.ok((await kv.lock('k', { put: undefined, wait: null, signal: undefined })).lock)
})

test('arguments of other kinds are refused', async (t) => {
  const kv = start(t, { clock: 'manual' })
  kv.put('k', 1)
  for (const by of [1.5, NaN, Infinity, 2 ** 53, '1', {}, true, 2n ** 63n]) {
    await refuses('invalid_argument', () => kv.incr('k', by), /by/)
  }
  for (const ttl of [undefined, null, -1, NaN, {}, '1', 1n]) {
    await refuses('invalid_argument', () => kv.touch('k', ttl), /ttl/)
  }
  for (const fn of [undefined, null, 1, {}, 'x']) {
    await refuses('invalid_argument', () => kv.update('k', fn))
    await refuses('invalid_argument', () => kv.getOrPut('new', fn))
    if (fn !== undefined && (fn === null || typeof fn !== 'object')) {
      await refuses('invalid_argument', () => kv.locked('k', {}, fn))
    }
  }
  for (const keys of [undefined, null, 1, 'k', {}]) {
    await refuses('invalid_argument', () => kv.getMany(keys))
    await refuses('invalid_argument', () => kv.deleteMany(keys))
    await refuses('invalid_argument', () => kv.putMany(keys))
  }
  for (const items of [['k'], [['k']], [['k', 1, 2]], [1], 'k1']) {
    await refuses('invalid_argument', () => kv.putMany(items))
  }
  for (const options of [{ limit: 0 }, { limit: -1 }, { limit: 1.5 }, { limit: '1' }, { cursor: 'x' }, { cursor: 1 }, { raw: 1 }, { prefx: '' }, { signal: undefined }]) {
    await refuses('invalid_argument', () => kv.keys(options))
    await refuses('invalid_argument', () => kv.entries(options))
  }
  for (const prefix of [1, true, Symbol('p'), '\ud800', 'x'.repeat(65_536)]) {
    for (const call of ['count', 'clear', 'keys', 'entries', 'watch']) {
      await refuses('invalid_key', () => kv[call](prefix))
    }
  }
  for (const options of [{ capacity: 0 }, { capacity: 2 ** 24 + 1 }, { initial: 1 }, { key: 'a', prefix: 'b' }, { sginal: 1 }, { signal: 1 }]) {
    await refuses('invalid_argument', () => kv.watch(options))
  }
  for (const ms of [undefined, -1, NaN, Infinity, '5', {}, 1e30]) await refuses('invalid_argument', () => kv.advance(ms))
  assert.equal(kv.value('k'), 1)
  assert.deepStrictEqual(kv.stats().watchers, 0)
})

test('an error of a callback passes through as the very same object', async (t) => {
  const kv = start(t, { clock: 'manual' })
  kv.put('k', 1)
  for (const own of [new Error('mine'), 'text', undefined, null, 5, Symbol('s')]) {
    const thrower = () => {
      throw own
    }
    const same = (call) =>
      Promise.resolve()
        .then(call)
        .then(
          () => assert.fail('it should fail'),
          (error) => assert.equal(error, own),
        )
    await same(() => kv.update('k', thrower))
    await same(() => kv.getOrPut('new', thrower))
    await same(() => kv.getOrPut('new', async () => thrower()))
    await same(() => kv.locked('k', thrower))
    await same(() => kv.locked('k', async (held) => held.update(thrower)))
  }
  assert.equal(kv.value('k'), 1)
  assert.equal(kv.get('k').lock, false)
  assert.equal(kv.count(), 1)
})

test('update gets the value, KEEP and DELETE do what they say', (t) => {
  const kv = start(t, { clock: 'manual', defaultTtl: 100 })
  assert.equal(kv.update('k', (value) => assert.equal(value, undefined) ?? 1).expiresIn, 100)
  kv.advance(10)
  assert.equal(kv.update('k', (value) => value + 1).expiresIn, 90)
  assert.equal(kv.update('k', () => KEEP).value, 2)
  assert.equal(kv.update('k', () => DELETE).value, 2)
  assert.equal(kv.update('k', () => KEEP), null)
  assert.equal(kv.update('k', () => DELETE), null)
  assert.equal(kv.update('k', () => null).value, null)
  assert.equal(kv.update('k', (value) => (value === null ? 'null' : 'other')).value, 'null')
  // A write in between has it asked again.
  let asked = 0
  const entry = kv.update('k', (value) => {
    if (asked++ === 0) kv.put('k', 'other')
    return value + '!'
  })
  assert.deepStrictEqual([asked, entry.value], [2, 'other!'])
  assert.throws(() => kv.update('k', async () => 1), { code: 'invalid_value', message: /Promise/ })
  assert.throws(() => kv.update('k', () => {}), { code: 'invalid_value', message: /undefined/ })
})

test('a callback may call the registry, stop it included', async (t) => {
  const kv = start(t, { clock: 'manual' })
  kv.update('a', () => kv.update('b', () => kv.put('c', 1).value + 1).value + 1)
  assert.deepStrictEqual([kv.value('a'), kv.value('b'), kv.value('c')], [3, 2, 1])
  await refuses('stopped', () => kv.update('a', () => (kv.stop(), 1)))
})

test('a conflict carries the present entry', async (t) => {
  const kv = start(t, { clock: 'manual' })
  kv.put('k', [1])
  const taken = await refuses('conflict', () => kv.put('k', 2, { ifAbsent: true }))
  assert.deepStrictEqual(taken.entry, kv.get('k'))
  const { version } = kv.get('k')
  kv.put('k', [2])
  assert.deepStrictEqual((await refuses('conflict', () => kv.delete('k', { ifVersion: version }))).entry.value, [2])
  kv.delete('k')
  assert.equal((await refuses('conflict', () => kv.put('k', 1, { ifVersion: version }))).entry, null)
  assert.equal('entry' in (await refuses('invalid_key', () => kv.get(''))), false)
})

test('errors are what errors in Node are', () => {
  const error = new MinikvError('locked', 'text')
  assert.ok(error instanceof Error)
  assert.deepStrictEqual([error.name, error.code, error.message], ['MinikvError', 'locked', 'text'])
  assert.match(error.stack, /^MinikvError: text\n/)
  const kv = new Registry()
  kv.stop()
  try {
    kv.get('k')
    assert.fail()
  } catch (thrown) {
    assert.match(thrown.stack.split('\n')[1], /get|Registry|calls/)
  }
})

test('listings come in pages that name no key twice', (t) => {
  const kv = start(t, { clock: 'manual' })
  for (let n = 0; n < 100; n++) kv.put(`n:${n}`, n)
  kv.put('other', 1)
  assert.equal(kv.keys().length, 101)
  assert.equal(kv.keys().cursor, null)
  assert.deepStrictEqual(kv.keys('other'), ['other'])
  assert.deepStrictEqual(kv.keys(Buffer.from('oth')), ['other'])
  const seen = new Map()
  let cursor
  do {
    const page = kv.entries({ prefix: 'n:', limit: 7, cursor })
    assert.ok(page.length <= 7)
    for (const entry of page) seen.set(entry.key, entry.value)
    cursor = page.cursor
  } while (cursor !== null)
  assert.equal(seen.size, 100)
  assert.equal([...seen.values()].reduce((a, b) => a + b), 4950)
  assert.equal(kv.count('n:'), 100)
  assert.equal(kv.clear('n:'), 100)
  assert.equal(kv.count(), 1)
})

test('many at once, all or nothing', async (t) => {
  const kv = start(t, { clock: 'manual' })
  const entries = kv.putMany(new Map([['a', 1], ['b', [2]]]), { ttl: 5 }) // prettier-ignore
  assert.deepStrictEqual(entries.map((entry) => [entry.key, entry.value, entry.expiresIn]), [['a', 1, 5], ['b', [2], 5]]) // prettier-ignore
  assert.deepStrictEqual(kv.getMany(new Set(['b', 'x', 'a'])).map((entry) => entry?.key), ['b', undefined, 'a'])
  await kv.lock('b', { owner: 'w' })
  await refuses('locked', () => kv.putMany([['a', 9], ['b', 9], ['c', 9]])) // prettier-ignore
  await refuses('locked', () => kv.deleteMany(['a', 'b']))
  assert.deepStrictEqual([kv.value('a'), kv.value('c')], [1, undefined])
  assert.deepStrictEqual(kv.deleteMany(['a', 'x', 'a']).map((entry) => entry?.value), [1, undefined, undefined])
  function* pairs() {
    yield ['g', 1]
  }
  assert.equal(kv.putMany(pairs()).length, 1)
})

test('messages name options as they are written here, and leave alone what is quoted', async (t) => {
  const starts = [
    [{ maxEntries: 0 }, /maxEntries is/],
    [{ maxValueBytes: 2 ** 30 }, /maxValueBytes is/],
    [{ lockLease: '11m' }, /lockLease is/],
  ]
  for (const [options, message] of starts) await refuses('invalid_argument', () => new Registry(null, options), message)
  const kv = start(t, 'spelled', { maxEntries: 1 })
  kv.put('max_entries', 1)
  await refuses('limit', () => kv.put('more', 1), /maxEntries/)
  await refuses('invalid_argument', () => kv.put('max_entries', 1, { ttl: 1, keepTtl: true }), /keepTtl/)
  await refuses('conflict', () => kv.put('max_entries', 1, { ifAbsent: true }), /^"max_entries" .*ifAbsent/)
  await refuses('already_started', () => new Registry('spelled', { existOk: true, maxEntries: 2 }), /maxEntries/)
  await refuses('invalid_argument', () => kv.put('k', 1, { 'a"max_entries': 1 }), /a.*max_entries/)
})

test('the entry of a conflict has ints as its handle wants them, whatever was called in between', async (t) => {
  const plain = start(t, 'ints-of-errors')
  const big = Registry.open('ints-of-errors', { ints: 'bigint' })
  plain.put('k', 1)
  const put = (kv, other) =>
    kv.put('k', { get a() { return other.value('k') !== null } }, { ifVersion: plain.put('other', 1).version })
  assert.equal((await refuses('conflict', () => put(big, plain))).entry.value, 1n)
  assert.equal((await refuses('conflict', () => put(plain, big))).entry.value, 1)
  const late = await refuses('conflict', () => big.lock('k', { ifVersion: plain.get('other').version }))
  assert.equal(late.entry.value, 1n)
})

test('options without anything in them are options, also of another realm', (t) => {
  const kv = start(t)
  for (const none of [{}, Object.create(null), vm.runInNewContext('({})'), null, undefined]) {
    assert.equal(kv.put('k', 1, none).value, 1)
  }
})
