'use strict'

const { native, handlers, keepAlive, slots } = require('./native')
const { entryOrNull } = require('./entry')

/** After so many events in a row the event loop gets a turn, or a busy writer would keep it from everything else. */
const RUN = 256

/** A subscription, made by `Registry.watch`. */
class Watch {
  #id
  #waiting = []
  #signal
  #onAbort
  #closed = false
  /** How many events were asked for since the event loop was last let through. */
  #run = 0
  /** Whether waiting for an event keeps the process alive, and whether it does right now. */
  #refd = false
  #keeping = false

  constructor(id, signal) {
    this.#id = id
    slots.register(this, id)
    if (signal === undefined) return
    this.#signal = signal
    // Weakly: a long-lived signal must not keep every watch that it was given to.
    const weak = new WeakRef(this)
    this.#onAbort = () => weak.deref()?.#abort()
    signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  #abort() {
    this.#end()
    for (const { reject } of this.#waiting.splice(0)) reject(this.#signal.reason)
    this.#settle()
  }

  #end() {
    if (this.#closed) return
    this.#closed = true
    native.watchClose(this.#id)
    this.#signal?.removeEventListener('abort', this.#onAbort)
  }

  #take(arm) {
    const event = native.watchNext(this.#id, arm)
    if (event === null) return null
    const [type, key, packed, count, node = null, state = null, owner = null] = event
    return Object.freeze({ type, key, entry: entryOrNull(packed), count, node, state, owner })
  }

  /** Whether there is somebody to tell, and whether the process lives for it. */
  #settle() {
    if (this.#waiting.length > 0) handlers.set(this.#id, () => this.#serve())
    else handlers.delete(this.#id)
    const keep = this.#refd && this.#waiting.length > 0
    if (keep !== this.#keeping) {
      this.#keeping = keep
      keepAlive(keep ? +1 : -1)
    }
  }

  #serve() {
    while (this.#waiting.length > 0) {
      const event = this.#take(true)
      if (event !== null) {
        this.#waiting.shift().resolve({ value: event, done: false })
      } else if (native.watchClosed(this.#id)) {
        for (const { resolve } of this.#waiting.splice(0)) resolve({ value: undefined, done: true })
      } else {
        break
      }
    }
    this.#settle()
  }

  next() {
    if (this.#signal?.aborted) return Promise.reject(this.#signal.reason)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      if (++this.#run < RUN) {
        this.#serve()
        return
      }
      this.#run = 0
      setImmediate(() => this.#serve())
    })
  }

  tryNext() {
    if (this.#signal?.aborted) throw this.#signal.reason
    return this.#take(false)
  }

  close() {
    this.#end()
    this.#serve()
  }

  async return(value) {
    this.close()
    return { value, done: true }
  }

  ref() {
    this.#refd = true
    this.#settle()
    return this
  }

  unref() {
    this.#refd = false
    this.#settle()
    return this
  }

  [Symbol.asyncIterator]() {
    return this
  }

  [Symbol.dispose]() {
    this.close()
  }

  async [Symbol.asyncDispose]() {
    this.close()
  }
}

module.exports = { Watch }
