'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const vm = require('node:vm')
const { Registry, float, Float } = require('minikv')
const { start, refuses } = require('./helpers')

const kv = new Registry(undefined, { clock: 'manual' })
test.after(() => kv.stop())

/** What comes back for a value, also inside a list and a map. */
function back(value) {
  const own = kv.put('k', value).value
  assert.deepStrictEqual(kv.put('l', [value]).value, [own])
  assert.deepStrictEqual(kv.put('m', { a: value }).value, { a: own })
  assert.deepStrictEqual(kv.value('k'), own)
  return own
}

test('values come back as they went in', () => {
  for (const value of [null, true, false, 0, -1, 2 ** 53 - 1, -(2 ** 53 - 1), 'text', '', 'ü€😀', '\0', '\ufffd', [], {}]) {
    assert.deepStrictEqual(back(value), value)
  }
  for (const value of [0.5, NaN, Infinity, -Infinity, -0, 2 ** 53, 1e300, 5e-324]) {
    assert.ok(Object.is(back(value), value), String(value))
    assert.equal(kv.get('k').type, 'float')
  }
  assert.equal(kv.put('k', 1).type, 'int')
  assert.equal(kv.put('k', float(1)).type, 'float')
  assert.equal(kv.value('k'), 1)
  assert.deepStrictEqual(back({ b: [1, { c: null }], a: 'x' }), { a: 'x', b: [1, { c: null }] })
})

test('texts of every length come back, also around the size of the fast path', () => {
  for (const letter of ['a', 'ü', '€', '😀']) {
    for (let length = 0; length < 300; length += length > 50 && length < 240 ? 37 : 1) {
      const text = letter.repeat(length)
      assert.equal(kv.put('k', text).value, text)
      if (length > 0) assert.equal(kv.put(text, length).key, text)
    }
  }
  const long = '\ufffd€'.repeat(100_000)
  assert.equal(kv.put('k', long).value, long)
})

test('ints are exact at every size', () => {
  for (const int of [2n ** 53n, -(2n ** 53n), 2n ** 63n - 1n, -(2n ** 63n)]) {
    assert.equal(back(int), int)
    assert.equal(kv.get('k').type, 'int')
  }
  assert.equal(back(5n), 5)
  for (const int of [2n ** 63n, -(2n ** 63n) - 1n, 10n ** 10_000n]) {
    assert.throws(() => kv.put('k', int), { code: 'invalid_value', message: /does not fit/ })
  }
})

test('ints come back as bigint always where that is wanted', (t) => {
  const big = start(t, { ints: 'bigint', clock: 'manual' })
  assert.equal(big.put('k', 1).value, 1n)
  assert.equal(big.value('k'), 1n)
  assert.deepStrictEqual(big.put('k', { a: [1, 1.5] }).value, { a: [1n, 1.5] })
  assert.equal(big.update('n', (value) => (value ?? 0n) + 1n).value, 1n)
  assert.equal(JSON.parse(JSON.stringify(big.get('n'))).value, 1)
})

test('bytes come back as a Buffer with memory of its own', () => {
  const bytes = Buffer.from([0, 255, 1])
  const views = [bytes, new Uint8Array(bytes), new Uint8Array(bytes).buffer, Buffer.alloc(8, bytes).subarray(0, 3)]
  for (const view of views) {
    const got = kv.put('k', view).value
    assert.ok(Buffer.isBuffer(got) && got.equals(bytes))
    assert.equal(got.buffer.byteLength, got.byteLength)
    got[0] = 9
    assert.ok(kv.get('k').value.equals(bytes))
  }
  kv.put('k', bytes)
  bytes[1] = 7
  assert.equal(kv.get('k').value[1], 255, 'what was put is a copy')
  assert.equal(kv.put('k', new Uint8Array(0)).value.length, 0)
})

test('memory that others may change or take away is refused, not read', () => {
  const shared = new Uint8Array(new SharedArrayBuffer(4))
  assert.throws(() => kv.put('k', shared), { code: 'invalid_value', message: /shared memory/ })
  assert.throws(() => kv.put('k', new SharedArrayBuffer(4)), { code: 'invalid_value' })
  assert.throws(() => kv.get(shared), { code: 'invalid_key' })
  const gone = new Uint8Array(4)
  structuredClone(gone, { transfer: [gone.buffer] })
  assert.throws(() => kv.put('k', gone), { code: 'invalid_value', message: /detached/ })
  assert.throws(() => kv.put('k', gone.buffer), { code: 'invalid_value', message: /detached/ })
  const resizable = new ArrayBuffer(8, { maxByteLength: 64 })
  const outside = new Uint8Array(resizable, 4, 4)
  const tracking = new Uint8Array(resizable)
  resizable.resize(2)
  assert.equal(kv.put('k', outside).value.length, 0)
  assert.equal(kv.put('k', tracking).value.length, 2)
  assert.equal(kv.put('k', resizable).value.length, 2)
})

test('maps are plain objects, Maps and objects without a prototype', () => {
  const proto = JSON.parse('{"__proto__": 1, "toString": 2, "1": 3}')
  const got = kv.put('k', proto).value
  assert.deepStrictEqual(Object.keys(got).sort(), ['1', '__proto__', 'toString'])
  assert.equal(Object.getPrototypeOf(got), Object.prototype)
  assert.equal(Object.getOwnPropertyDescriptor(got, '__proto__').value, 1)
  assert.deepStrictEqual(kv.put('k', Object.assign(Object.create(null), { a: 1 })).value, { a: 1 })
  assert.deepStrictEqual(kv.put('k', new Map([['a', new Map()]])).value, { a: {} })
  assert.deepStrictEqual(kv.put('k', vm.runInNewContext('({ a: [1, { b: new Map([["c", 2]]) }] })')).value, {
    a: [1, { b: { c: 2 } }],
  })
  const hidden = Object.defineProperty({ a: 1, [Symbol('s')]: 2 }, 'b', { value: 2, enumerable: false })
  assert.deepStrictEqual(kv.put('k', hidden).value, { a: 1 })
})

test('a prototype with traps changes nothing of what is handed out', () => {
  const trapped = Object.getOwnPropertyDescriptor(Object.prototype, 'trap')
  assert.equal(trapped, undefined)
  let called = 0
  Object.defineProperty(Object.prototype, 'trap', { configurable: true, get: () => 1, set: () => called++ })
  try {
    assert.equal(Object.getOwnPropertyDescriptor(kv.put('k', new Map([['trap', 5]])).value, 'trap').value, 5)
  } finally {
    delete Object.prototype.trap
  }
  assert.equal(called, 0)
})

class Point {
  x = 1
}

const cyclic = { list: [] }
cyclic.list.push(cyclic)
const deep = (depth) => {
  let value = null
  for (let at = 0; at < depth; at++) value = at % 2 ? [value] : { d: value }
  return value
}

/** What cannot be stored, with what the message must say. */
const refused = {
  undefined: [undefined, /undefined/],
  'a hole': [[1, , 2], /\[1\]/],
  'nested undefined': [{ a: [{ b: undefined }] }, /\["a"\]\[0\]\["b"\]: undefined/],
  'a symbol': [Symbol('s'), /symbol/],
  'a symbol below': [[Symbol.iterator], /\[0\]: a symbol/],
  'a function': [() => 1, /function/],
  'a class': [{ f: Point }, /\["f"\]: a function/],
  'a Date': [new Date(), /Date/],
  'a Date below': [{ when: new Date() }, /\["when"\]: a Date/],
  'a Set': [new Set([1]), /Set/],
  'a WeakMap': [new WeakMap(), /cannot be stored/],
  'a RegExp': [/x/, /RegExp/],
  'an Error': [new Error('x'), /Error/],
  'a Promise': [Promise.resolve(1), /Promise/],
  'an instance': [new Point(), /class Point/],
  'an instance without a class': [Object.create({ a: 1 }), /cannot be stored/],
  'an iterator': [[][Symbol.iterator](), /cannot be stored/],
  'a generator': [(function* () {})(), /cannot be stored/],
  'a boxed number': [Object(1), /Number/],
  'a boxed text': [Object('x'), /String/],
  'arguments': [(function () { return arguments })(1), /cannot be stored/], // prettier-ignore
  'a Float32Array': [new Float32Array(1), /typed array/],
  'a Uint8ClampedArray': [new Uint8ClampedArray(1), /typed array/],
  'a BigInt64Array': [[new BigInt64Array(1)], /\[0\]: a typed array/],
  'a DataView': [new DataView(new ArrayBuffer(1)), /DataView/],
  'a proxy of an object': [new Proxy({}, {}), /Proxy/],
  'a proxy of an array': [[new Proxy([], {})], /\[0\]: a Proxy/],
  'a proxy of bytes': [new Proxy(new Uint8Array(2), {}), /Proxy/],
  'a revoked proxy': [(() => { const p = Proxy.revocable({}, {}); p.revoke(); return p.proxy })(), /Proxy/], // prettier-ignore
  'a lone surrogate': ['a\ud800', /surrogate/],
  'a lone surrogate far behind': ['€'.repeat(1000) + '\udc00', /surrogate/],
  'a lone surrogate in a key': [{ ['\ud800']: 1 }, /surrogate/],
  'a Map with a number as key': [new Map([[1, 1]]), /Map must be strings/],
  'a cycle': [cyclic, /cycle/],
  'a cycle of a Map': [(() => { const m = new Map(); return m.set('m', m) })(), /cycle/], // prettier-ignore
  'depth 129': [deep(129), /128/],
  Math: [Math, /cannot be stored/],
  'a Set in disguise': [Object.setPrototypeOf(new Set(), Object.prototype), /Set/],
  'a Date in disguise': [Object.setPrototypeOf(new Date(), Object.prototype), /Date/],
  'a globalThis': [globalThis, /cannot be stored|Proxy|function/],
  'a module': [require('node:fs'), /cannot be stored|function/],
  'an AbortSignal': [new AbortController().signal, /AbortSignal/],
  'a huge sparse array': [new Array(2 ** 32 - 1), /\[0\]: undefined/],
  'a Float without its inside': [Object.create(Float.prototype), /Float/],
  '16 MiB': ['x'.repeat(16 << 20), /larger|bytes/],
  '16 MiB of bytes': [Buffer.alloc(16 << 20), /larger|bytes/],
  '16 MiB of 16 MiB': [Array(20).fill('x'.repeat(1 << 20)), /larger|bytes/],
}

for (const [name, [value, message]] of Object.entries(refused)) {
  test(`${name} cannot be stored, and nothing changes`, async (t) => {
    const own = start(t, { clock: 'manual' })
    own.put('k', 'before')
    const before = own.get('k')
    await refuses('invalid_value', () => own.put('k', value), message)
    await refuses('invalid_value', () => own.set('new', value), message)
    await refuses('invalid_value', () => own.putMany([['a', 1], ['k', value]]), message) // prettier-ignore
    await refuses('invalid_value', () => own.update('k', () => value), message)
    await refuses('invalid_value', () => own.getOrPut('new', () => [value]), message)
    // An option that is undefined is not given.
    if (value !== undefined) await refuses('invalid_value', () => own.lock('k', { put: value }), message)
    await own.locked('k', (held) => refuses('invalid_value', () => held.put(value), message))
    assert.deepStrictEqual(own.keys(), ['k'])
    const { fence, ...after } = own.get('k').toJSON()
    assert.deepStrictEqual(after, (({ fence, ...rest }) => rest)(before.toJSON()))
  })
}

test('what a value throws while it is read passes through as it is', () => {
  const own = new RangeError('mine')
  const thrower = () => {
    throw own
  }
  const throwing = [
    { get a() { return thrower() } }, // prettier-ignore
    [1, { b: { get c() { return thrower() } } }], // prettier-ignore
    Object.defineProperty([1, 2], 1, { get: thrower }),
    new Map([['a', { get b() { return thrower() } }]]), // prettier-ignore
  ]
  const before = kv.digest()
  for (const value of throwing) {
    assert.throws(
      () => kv.put('thrown', value),
      (error) => error === own,
    )
  }
  assert.equal(kv.digest(), before)
})

test('a value may do anything while it is read', (t) => {
  const own = start(t, { clock: 'manual' })
  const list = [1, 2, 3]
  Object.defineProperty(list, 0, {
    get() {
      list.length = 1
      own.put('inner', 1)
      return 0
    },
  })
  assert.throws(() => own.put('k', list), { code: 'invalid_value', message: /\[1\]: undefined/ })
  assert.equal(own.value('inner'), 1)
  const growing = []
  Object.defineProperty(growing, 0, { get: () => growing.push(1), enumerable: true })
  assert.equal(own.put('k', growing).value.length, 1)
  const object = {
    get a() {
      delete this.b
      own.stop()
      return 1
    },
    b: 2,
  }
  assert.throws(() => own.put('k', object), { code: 'invalid_value', message: /\["b"\]/ })
  assert.throws(() => own.get('k'), { code: 'stopped' })
})

test('a class with a getter that throws for a name is refused all the same', () => {
  class Odd {}
  Object.defineProperty(Odd.prototype, 'constructor', {
    get() {
      throw new Error('no')
    },
  })
  assert.throws(() => kv.put('k', new Odd()), { code: 'invalid_value', message: /an object cannot be stored/ })
})

test('depth 128 is stored, and a shared object is no cycle', () => {
  const value = deep(128)
  assert.deepStrictEqual(kv.put('k', value).value, value)
  const shared = { a: 1 }
  assert.deepStrictEqual(kv.put('k', [shared, shared]).value, [shared, shared])
})

test('floats are numbers only, and keep what they are', () => {
  for (const wrong of [undefined, null, '1', 1n, {}, ['a', 1]]) {
    assert.throws(() => float(wrong), { code: 'invalid_value' })
    assert.throws(() => new Float(wrong), { code: 'invalid_value' })
  }
  assert.equal(float(2).value, 2)
  assert.equal(float(2) + 1, 3)
  assert.equal(JSON.stringify([float(2)]), '[2]')
  assert.ok(Object.isFrozen(float(2)))
})

test('a stack that is nearly full is an error of JavaScript, not a crash', (t) => {
  const own = start(t, { clock: 'manual' })
  const value = deep(100)
  let deepest = 0
  const recurse = (depth) => {
    deepest = depth
    own.put('k', value)
    own.get('k').value
    own.update('n', (n) => (n ?? 0) + 1)
    recurse(depth + 1)
  }
  assert.throws(() => recurse(0), RangeError)
  assert.ok(deepest > 100)
  assert.deepStrictEqual(own.put('k', value).value, value)
})
