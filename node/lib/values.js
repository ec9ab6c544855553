'use strict'

const { types } = require('node:util')

/** The number of a Float, undefined of anything else. */
let floatOf

/** A number that is stored as a float, whatever its value. */
class Float {
  #value
  constructor(value) {
    if (typeof value !== 'number') {
      throw require('./errors').makeError('invalid_value', 'float takes a number')
    }
    this.#value = value
    Object.freeze(this)
  }

  get value() {
    return this.#value
  }

  valueOf() {
    return this.#value
  }

  toJSON() {
    return this.#value
  }

  static {
    floatOf = (object) => (#value in object ? object.#value : undefined)
  }
}

const float = (value) => new Float(value)

/** What `update` may return instead of a value; the same in every copy of this file. */
const KEEP = Symbol.for('minikv.KEEP')
const DELETE = Symbol.for('minikv.DELETE')

const { toString } = Object.prototype
const { forEach } = Map.prototype

/**
 * Asked by the addon about an object that is neither an array nor bytes: null (a plain object), a number (a float),
 * an array (keys and values of a Map in turn), or text that says why it cannot be stored.
 */
function exotic(object) {
  // First: of a proxy nothing else can be believed.
  if (types.isProxy(object)) return 'a Proxy cannot be stored; store a copy'
  const number = floatOf(object)
  if (number !== undefined) return number
  if (types.isMap(object)) {
    const pairs = []
    forEach.call(object, (value, key) => pairs.push(key, value))
    return pairs
  }
  return hasPlainPrototype(object) && isBare(object) ? null : describe(object)
}

function hasPlainPrototype(object) {
  const prototype = Object.getPrototypeOf(object)
  return prototype === Object.prototype || prototype === null || isForeign(prototype)
}

/** Whether this is the Object.prototype of another realm, as test runners and vm contexts have it. */
function isForeign(prototype) {
  return (
    !types.isProxy(prototype) &&
    Object.getPrototypeOf(prototype) === null &&
    Object.hasOwn(prototype, 'hasOwnProperty') &&
    Object.hasOwn(prototype, '__lookupGetter__')
  )
}

/** Whether there is nothing inside but properties: not so in `arguments`, or where a prototype was replaced. */
function isBare(object) {
  if (types.isSet(object) || types.isPromise(object)) return false
  if (toString.call(object) === '[object Object]') return true
  return !(
    types.isArgumentsObject(object) ||
    types.isModuleNamespaceObject(object) ||
    types.isNativeError(object) ||
    types.isBoxedPrimitive(object) ||
    types.isDate(object) ||
    types.isRegExp(object) ||
    object === Math ||
    object === JSON ||
    object === Reflect
  )
}

function describe(object) {
  if (types.isPromise(object)) return 'a Promise cannot be stored; await it first'
  if (types.isDate(object)) return 'a Date cannot be stored; store its getTime() or toISOString()'
  if (types.isSet(object)) return 'a Set cannot be stored; store an array of its values'
  let name
  try {
    name = object.constructor?.name
  } catch {
    // A getter that throws has no name to offer.
  }
  const shown = typeof name === 'string' && name !== '' ? ` of class ${name.slice(0, 48)}` : ''
  return `an object${shown} cannot be stored; only plain ones can`
}

module.exports = { Float, float, KEEP, DELETE, exotic, hasPlainPrototype }
