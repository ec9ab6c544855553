'use strict'

const { native, handlers, slots } = require('./native')
const { makeError } = require('./errors')
const { Entry, entryOrNull } = require('./entry')
const { flat } = require('./options')

/** A lock held in a scope, made by `Registry.locked`. */
class Held {
  #id
  #key
  #owner
  #fence
  #abort = new AbortController()

  constructor([id, owner, fence, key]) {
    this.#id = id
    this.#key = key
    this.#owner = owner
    this.#fence = fence
    slots.register(this, id)
    // Weakly: a guard that nobody has any more gives its lock back.
    const weak = new WeakRef(this)
    handlers.set(id, () => {
      handlers.delete(id)
      weak.deref()?.#lose()
    })
    // It may have been lost between the grant and now, when nobody listened yet.
    this.#lose()
  }

  #lose() {
    if (!this.#abort.signal.aborted && native.heldLost(this.#id)) {
      this.#abort.abort(makeError('lock_lost', 'the lock ended before it was released'))
    }
  }

  get key() {
    return typeof this.#key === 'string' ? this.#key : Buffer.from(this.#key)
  }

  get owner() {
    return this.#owner
  }

  get fence() {
    return this.#fence
  }

  get lost() {
    return native.heldLost(this.#id)
  }

  get signal() {
    return this.#abort.signal
  }

  get() {
    return entryOrNull(native.heldGet(this.#id))
  }

  put(value, options) {
    return new Entry(native.heldPut(this.#id, value, flat(options)))
  }

  delete() {
    const entry = entryOrNull(native.heldDelete(this.#id))
    handlers.delete(this.#id)
    return entry
  }

  incr(by) {
    return new Entry(native.heldIncr(this.#id, by))
  }

  update(change) {
    return entryOrNull(native.heldUpdate(this.#id, change))
  }

  touch(ttl) {
    return entryOrNull(native.heldTouch(this.#id, ttl))
  }

  persist() {
    return entryOrNull(native.heldPersist(this.#id))
  }

  check() {
    native.heldCheck(this.#id)
  }

  release() {
    native.heldRelease(this.#id)
    handlers.delete(this.#id)
  }

  [Symbol.dispose]() {
    this.release()
  }

  async [Symbol.asyncDispose]() {
    this.release()
  }
}

module.exports = { Held }
