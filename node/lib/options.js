'use strict'

const { types } = require('node:util')
const native = require('./addon')
const { hasPlainPrototype } = require('./values')

/** For each name of an option its number, by which the addon knows it. */
const numbers = new Map(native.optionNames().map((name, number) => [name, number]))

/** Something that the addon refuses as options. */
const REFUSED = Object.freeze({})

/** Options as the addon reads them: names and values in turn. What it makes of them is its business. */
function flat(options) {
  if (options === undefined || options === null) return undefined
  if (typeof options !== 'object') return options
  if (Array.isArray(options)) return REFUSED
  const list = []
  for (const name of Object.keys(options)) list.push(numbers.get(name) ?? name, options[name])
  // A Map, an AbortSignal, an instance that inherits everything: nothing of it would be heeded.
  if (list.length === 0 && !hasPlainPrototype(options)) return REFUSED
  return list
}

/** The same where a prefix may stand in place of options. */
function flatOrPrefix(options) {
  if (typeof options !== 'object' || ArrayBuffer.isView(options) || types.isAnyArrayBuffer(options)) return options
  return flat(options)
}

module.exports = { flat, flatOrPrefix }
