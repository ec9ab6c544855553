// The written forms of values in vectors, and how a result is compared with them.

import { inspect } from 'node:util'
import minikv from 'minikv'

export const show = (value) => inspect(value, { depth: 6, breakLength: Infinity, maxStringLength: 200 })

/** A step that did not give what it should. */
export class Mismatch extends Error {
  stepped = true
}

export function fail(what, expected, got) {
  throw new Mismatch(`${what}: expected ${show(expected)}, got ${show(got)}`)
}

export function onlyFields(object, known, what) {
  for (const field of Object.keys(object)) {
    if (!known.includes(field)) throw new Mismatch(`unknown field of ${what}: ${field}`)
  }
}

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value)

/** The form of an object with one key that starts with `$`, otherwise undefined. */
function formOf(written) {
  if (!isObject(written)) return undefined
  const keys = Object.keys(written)
  return keys.length === 1 && keys[0].startsWith('$') ? keys[0] : undefined
}

export function parseFloatText(text) {
  if (text === 'nan') return NaN
  if (text === 'inf') return Infinity
  if (text === '-inf') return -Infinity
  if (text.trim() !== text || text === '' || Number.isNaN(Number(text))) {
    throw new Mismatch(`not a float: ${text}`)
  }
  return Number(text)
}

/** A written value as a user of this language writes it. */
export function toValue(written) {
  if (Array.isArray(written)) return written.map(toValue)
  if (typeof written === 'number') {
    if (!Number.isSafeInteger(written) || Object.is(written, -0)) {
      throw new Mismatch(`not a bare int: ${written}`)
    }
    return written
  }
  if (!isObject(written)) return written
  const form = formOf(written)
  if (form === undefined) {
    const object = {}
    for (const [key, value] of Object.entries(written)) define(object, key, toValue(value))
    return object
  }
  const content = written[form]
  switch (form) {
    case '$int':
      return BigInt(content)
    case '$float':
      return minikv.float(parseFloatText(content))
    case '$bytes':
      return Buffer.from(content, 'base64')
    case '$map':
      return new Map(content.map(([key, value]) => [toValue(key), toValue(value)]))
    case '$repeat':
      return content[0].repeat(content[1])
    case '$nest': {
      let list = []
      for (let depth = 1; depth < content; depth++) list = [list]
      return list
    }
    case '$utf16':
      return String.fromCharCode(...content)
    default:
      throw new Mismatch(`unknown form: ${form}`)
  }
}

function define(object, key, value) {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true })
}

/** Keys, prefixes and labels: text, bytes, or null. */
export function toKey(written) {
  if (written === null || typeof written === 'string') return written
  if (['$bytes', '$repeat', '$utf16'].includes(formOf(written))) return toValue(written)
  throw new Mismatch(`not a key: ${show(written)}`)
}

export function sameKey(expected, got) {
  const key = toKey(expected)
  if (typeof key === 'string') return key === got
  return Buffer.isBuffer(got) && key.equals(got)
}

/** Whether a result is the written value; of a float on the outside `type` tells. */
export function sameValue(expected, got, type) {
  const form = formOf(expected)
  if (expected === null || typeof expected === 'boolean' || typeof expected === 'string') {
    return got === expected
  }
  if (typeof expected === 'number') {
    return typeof got === 'number' && Object.is(got, expected) && (type ?? 'int') === 'int'
  }
  if (Array.isArray(expected)) {
    if (!Array.isArray(got) || got.length !== expected.length) return false
    return expected.every((item, at) => sameValue(item, got[at]))
  }
  switch (form) {
    case undefined:
      return sameMap(Object.entries(expected), got)
    case '$map':
      return sameMap(content(expected), got)
    case '$int': {
      const int = BigInt(expected.$int)
      const safe = Number.isSafeInteger(Number(int))
      return got === (safe ? Number(int) : int) && (type ?? 'int') === 'int'
    }
    case '$float':
      return Object.is(got, parseFloatText(expected.$float)) && (type ?? 'float') === 'float'
    case '$bytes':
      return Buffer.isBuffer(got) && got.equals(Buffer.from(expected.$bytes, 'base64'))
    case '$repeat':
      return got === toValue(expected)
    case '$nest': {
      for (let depth = expected.$nest; depth > 1; depth--) {
        if (!Array.isArray(got) || got.length !== 1) return false
        got = got[0]
      }
      return Array.isArray(got) && got.length === 0
    }
    default:
      throw new Mismatch(`unknown form: ${form}`)
  }
}

// Of equal keys in `$map` the last one counts, as in every map.
const content = (expected) => [...new Map(expected.$map.map(([key, value]) => [toValue(key), value]))]

function sameMap(entries, got) {
  if (!isObject(got) || Buffer.isBuffer(got)) return false
  if (Object.keys(got).length !== entries.length) return false
  return entries.every(
    ([key, value]) =>
      Object.hasOwn(got, key) && sameValue(value, Object.getOwnPropertyDescriptor(got, key).value),
  )
}
