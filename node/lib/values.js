'use strict'

const { types } = require('node:util')

/** A number that is stored as a float, whatever its value. */
class Float {
  #value
  constructor(value) {
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

  static is(object) {
    return #value in object
  }
}

function float(value) {
  if (typeof value !== 'number') {
    throw require('./errors').makeError('invalid_value', 'float takes a number')
  }
  return new Float(value)
}

/** What `update` may return instead of a value. */
const KEEP = Symbol('minikv.KEEP')
const DELETE = Symbol('minikv.DELETE')

const forEach = Map.prototype.forEach

/**
 * Asked by the addon about an object that is neither an array, nor bytes, nor directly below this realm's
 * Object.prototype: null (a plain object), a number (a float), an array (keys and values of a Map in turn), or
 * text that says why it cannot be stored.
 */
function exotic(object) {
  // First: of a proxy nothing else can be believed.
  if (types.isProxy(object)) return 'a Proxy cannot be stored; store a copy'
  if (Float.is(object)) return object.value
  if (types.isMap(object)) {
    const pairs = []
    forEach.call(object, (value, key) => pairs.push(key, value))
    return pairs
  }
  const prototype = Object.getPrototypeOf(object)
  if (prototype === null) return isBare(object) ? null : describe(object)
  // Plain objects of another realm, as test runners and vm contexts make them.
  const plain =
    !types.isProxy(prototype) &&
    Object.getPrototypeOf(prototype) === null &&
    Object.hasOwn(prototype, 'hasOwnProperty') &&
    Object.hasOwn(prototype, '__lookupGetter__')
  return plain && isBare(object) ? null : describe(object)
}

/** Whether there is nothing inside but properties. */
function isBare(object) {
  return !(
    types.isDate(object) ||
    types.isRegExp(object) ||
    types.isSet(object) ||
    types.isWeakMap(object) ||
    types.isWeakSet(object) ||
    types.isPromise(object) ||
    types.isBoxedPrimitive(object) ||
    types.isNativeError(object) ||
    types.isGeneratorObject(object) ||
    types.isArgumentsObject(object) ||
    types.isModuleNamespaceObject(object) ||
    types.isExternal(object) ||
    types.isDataView(object)
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

module.exports = { Float, float, KEEP, DELETE, exotic }
