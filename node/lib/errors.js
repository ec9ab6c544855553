'use strict'

const { Entry } = require('./entry')

/** What went wrong: `code` is stable, the message is for people. */
class MinikvError extends Error {
  constructor(code, message, entry) {
    super(message)
    this.code = code
    if (entry !== undefined) this.entry = entry
  }
}

// As that of Error: not among the enumerable properties.
Object.defineProperty(MinikvError.prototype, 'name', {
  value: 'MinikvError',
  writable: true,
  configurable: true,
})

/** The error for the addon to throw; `packed` is that of a conflict's entry. */
function makeError(code, message, packed) {
  const entry = typeof packed === 'string' ? new Entry(packed) : packed
  const error = new MinikvError(code, message, entry)
  Error.captureStackTrace(error, makeError)
  return error
}

const invalidArgument = (message) => makeError('invalid_argument', message)

module.exports = { MinikvError, makeError, invalidArgument }
