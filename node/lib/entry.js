'use strict'

const { inspect } = require('node:util')
const native = require('./addon')

/** The packed entry. An enumerable own property, so that deep equality of two entries means what it says. */
const PACKED = Symbol('minikv.packed')

/** Of the first character: the entry expires, and its last 8 characters tell how long it had left. */
const EXPIRES = 1

/** A snapshot of a key as it was when it was read. Frozen; later changes do not show in it. */
class Entry {
  #left
  #fields
  #value

  constructor(packed) {
    if (typeof packed !== 'string' || packed.length < 29) {
      throw new TypeError('entries are made by a registry')
    }
    if (packed.charCodeAt(0) & EXPIRES) {
      this.#left = packed.slice(-8)
      packed = packed.slice(0, -8)
    }
    this[PACKED] = packed
    Object.freeze(this)
  }

  #read() {
    return (this.#fields ??= native.entryFields(this[PACKED]))
  }

  get key() {
    const key = this.#read()[0]
    return typeof key === 'string' ? key : Buffer.from(key)
  }

  get rawKey() {
    return native.entryRawKey(this[PACKED])
  }

  get value() {
    if (this.#value !== undefined) return this.#value
    const value = native.entryValue(this[PACKED])
    // Lists, maps and bytes are the caller's own, each time anew.
    if (typeof value !== 'object') this.#value = value
    return value
  }

  get type() {
    return this.#read()[1]
  }

  get node() {
    return this.#read()[2]
  }

  get time() {
    return this.#read()[3]
  }

  get exp() {
    return this.#read()[4]
  }

  get timeNs() {
    return this.#read()[5]
  }

  get expNs() {
    return this.#read()[6]
  }

  get fence() {
    return this.#read()[7]
  }

  get lock() {
    return this.#read()[8]
  }

  get holder() {
    const [node, owner] = this.#read().slice(9, 11)
    return node === null ? null : { node, owner }
  }

  get version() {
    return this.#read()[11]
  }

  get expiresIn() {
    const left = this.#left
    if (left === undefined) return null
    let nanos = 0n
    for (let at = 7; at >= 0; at--) nanos = (nanos << 8n) | BigInt(left.charCodeAt(at))
    return Number(nanos) / 1e6
  }

  toJSON() {
    const { key, value, type, node, time, exp, lock, holder, fence, version } = this
    return {
      key,
      value: jsonValue(value),
      type,
      node,
      time,
      exp,
      lock,
      holder,
      fence: fence === null ? null : String(fence),
      version,
    }
  }

  [inspect.custom](_depth, options, inspectValue) {
    const { key, value, type, node, time, exp, lock, holder, fence, version } = this
    const shown = { key, value, type, node, time, exp, lock, holder, fence, version }
    return `Entry ${inspectValue(shown, options)}`
  }
}

/** JSON has no BigInt: an int that is not safe becomes text, as the fence does. */
function jsonValue(value) {
  if (typeof value === 'bigint') {
    return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  }
  if (Array.isArray(value)) return value.map(jsonValue)
  if (value !== null && typeof value === 'object' && !Buffer.isBuffer(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, jsonValue(item)]))
  }
  return value
}

const entryOrNull = (packed) => (packed === null ? null : new Entry(packed))
const entriesOf = (packed) => packed.map(entryOrNull)

module.exports = { Entry, entryOrNull, entriesOf }
