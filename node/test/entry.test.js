'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const { inspect } = require('node:util')
const { Entry } = require('minikv')
const { start } = require('./helpers')

const START = 1_700_000_000_000

test('an entry has all its fields', async (t) => {
  const kv = start(t, { node: 'a', clock: 'manual' })
  const put = kv.put('k', [1], { ttl: 1500 })
  assert.ok(put instanceof Entry)
  assert.deepStrictEqual(
    [put.key, put.value, put.type, put.node, put.time, put.exp, put.expiresIn],
    ['k', [1], 'list', 'a', START, START + 1500, 1500],
  )
  assert.deepStrictEqual([put.timeNs, put.expNs], [BigInt(START) * 1_000_000n, BigInt(START + 1500) * 1_000_000n])
  assert.deepStrictEqual([put.lock, put.holder, put.fence], [false, null, null])
  assert.match(put.version, /^[0-9a-f-]{49,}$/)
  kv.advance(500)
  const locked = await kv.lock('k', { owner: 'w1' })
  assert.deepStrictEqual([locked.lock, locked.holder, locked.expiresIn], [true, { node: 'a', owner: 'w1' }, 1000])
  assert.equal(typeof locked.fence, 'bigint')
  assert.equal(locked.version, put.version)
  const forever = kv.put('f', 1)
  assert.deepStrictEqual([forever.exp, forever.expNs, forever.expiresIn], [null, null, null])
  kv.put('plain', 1)
  assert.deepStrictEqual((await kv.lock('plain')).holder, { node: 'a', owner: null })
  assert.equal(kv.get('nothing'), null)
})

test('fractions of a millisecond arrive', (t) => {
  const kv = start(t, { clock: 'manual' })
  const now = BigInt(START) * 1_000_000n
  assert.equal(kv.put('k', 1, { ttl: 0.000001 }).expNs, now + 1n)
  assert.equal(kv.put('k', 1, { ttl: 1.5 }).expNs, now + 1_500_000n)
  assert.equal(kv.put('k', 1, { ttl: 7_523_372_036_854 }).expNs, now + 7_523_372_036_854_000_000n)
  assert.equal(kv.put('k', 1, { ttl: '1500us' }).expNs, now + 1_500_000n)
  assert.equal(kv.put('k', 1, { ttl: 1.5 }).exp, START + 1.5)
})

test('an entry is frozen and hands out copies', (t) => {
  const kv = start(t, { clock: 'manual' })
  kv.put('k', { a: [1], b: Buffer.from('x') })
  const entry = kv.get('k')
  assert.ok(Object.isFrozen(entry))
  assert.throws(() => (entry.value = 1), TypeError)
  assert.throws(() => (entry.other = 1), TypeError)
  const value = entry.value
  value.a.push(2)
  value.b[0] = 0
  assert.deepStrictEqual(entry.value, { a: [1], b: Buffer.from('x') })
  assert.deepStrictEqual(kv.get('k').value, { a: [1], b: Buffer.from('x') })
  kv.put('k', 2)
  assert.deepStrictEqual(entry.value.a, [1], 'a snapshot')
})

test('equality of entries means what it says', (t) => {
  const kv = start(t, { clock: 'manual', defaultTtl: 1000 })
  kv.put('k', 1)
  const before = kv.get('k')
  kv.advance(10)
  assert.deepStrictEqual(kv.get('k'), before, 'not the time of reading')
  kv.put('k', 2)
  assert.notDeepStrictEqual(kv.get('k'), before)
})

test('keys that are not text come back as bytes, copies of their own', (t) => {
  const kv = start(t, { clock: 'manual' })
  const bytes = Buffer.from([0xff, 0x00])
  const entry = kv.put(bytes, 1)
  assert.ok(Buffer.isBuffer(entry.key) && entry.key.equals(bytes))
  entry.key[0] = 1
  assert.ok(entry.key.equals(bytes) && entry.rawKey.equals(bytes))
  assert.ok(kv.contains(new Uint8Array(bytes).buffer))
  assert.equal(kv.put(Buffer.from('text'), 1).key, 'text')
  assert.ok(kv.get('text').rawKey.equals(Buffer.from('text')))
  assert.ok(kv.keys({ raw: true }).every(Buffer.isBuffer))
  const long = 'ü'.repeat(32_767)
  assert.equal(kv.put(long, 1).key, long)
  assert.equal(kv.get(long).rawKey.length, 65_534)
})

test('entries are shown and written as JSON', async (t) => {
  const kv = start(t, { clock: 'manual' })
  kv.put('k', { big: 2n ** 60n, list: [1] })
  const entry = await kv.lock('k', { owner: 'w' })
  assert.match(inspect(entry), /^Entry \{[^]*key: 'k'[^]*holder: \{ node: 'local', owner: 'w' \}/)
  const json = JSON.parse(JSON.stringify(entry))
  assert.deepStrictEqual(json.value, { big: String(2n ** 60n), list: [1] })
  assert.equal(json.fence, String(entry.fence))
  assert.deepStrictEqual(structuredClone(entry.toJSON()).key, 'k')
})

test('entries are not made by hand', () => {
  for (const wrong of [undefined, 1, 'x', {}]) assert.throws(() => new Entry(wrong), TypeError)
  const forged = new Entry('\xff'.repeat(400))
  for (const field of ['key', 'value', 'rawKey', 'holder', 'version', 'expiresIn']) {
    try {
      String(forged[field])
    } catch (error) {
      assert.ok(['internal', 'corrupt'].includes(error.code), error.stack)
    }
  }
})
