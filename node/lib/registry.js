'use strict'

const { AsyncLocalStorage } = require('node:async_hooks')
const { fileURLToPath } = require('node:url')
const { native, after, dispatch, handlers, handles, signalOf, waitFor } = require('./native')
const { invalidArgument } = require('./errors')
const { Entry, entryOrNull, entriesOf } = require('./entry')
const { Held } = require('./held')
const { Near } = require('./near')
const { flat, flatOrPrefix } = require('./options')
const { Watch } = require('./watch')

/** Tells the constructor that the handle is there already. */
const OPENED = Symbol('opened')

/** The keys that are being computed around the running code, innermost first. */
const computing = new AsyncLocalStorage()

/** A handle that the addon knows nothing of. */
const RELEASED = -1

class Registry {
  #id
  /** Whether leaving a scope stops the registry, or only gives this handle back. */
  #starter
  #name
  /** What was read last, once something was; null: nothing can be kept. */
  #near
  /** That this handle has stopped the registry, or is at it. */
  #stopping

  constructor(name, options) {
    if (name === OPENED) {
      ;[this.#id, this.#starter] = options
    } else {
      ;[this.#id, this.#starter] = native.start(startOptions(name, options))
    }
    handles.register(this, this.#id, this)
  }

  static async start(name, options) {
    const id = native.startAside(startOptions(name, options))
    return new Registry(OPENED, await waitFor(id, native.startTake))
  }

  static open(name, options) {
    return new Registry(OPENED, [native.open(name, flat(options)), false])
  }

  static fromConfig(path, options) {
    const file = path instanceof URL ? fileOf(path) : path
    return new Registry(OPENED, native.fromConfig(file, flat(options)))
  }

  get(key) {
    const packed = native.get(this.#id, key)
    return packed === null ? null : new Entry(packed)
  }

  value(key, fallback) {
    if (this.#near === undefined) this.#near = Near.of(this.#id)
    const near = this.#near
    if (typeof key !== 'string' || near === null) return native.value(this.#id, key, fallback)
    const kept = near.get(key)
    if (kept !== undefined) return kept.value
    const value = native.valueNoted(this.#id, key, fallback)
    near.keep(key, value)
    return value
  }

  contains(key) {
    return native.contains(this.#id, key)
  }

  put(key, value, options) {
    return new Entry(native.put(this.#id, key, value, flat(options)))
  }

  set(key, value, options) {
    return new Entry(native.put(this.#id, key, value, flat(options)))
  }

  delete(key, options) {
    return entryOrNull(native.delete(this.#id, key, flat(options)))
  }

  unlock(key, options) {
    return entryOrNull(native.unlock(this.#id, key, flat(options)))
  }

  persist(key, options) {
    return entryOrNull(native.persist(this.#id, key, flat(options)))
  }

  touch(key, ttl, options) {
    return entryOrNull(native.touch(this.#id, key, ttl, flat(options)))
  }

  incr(key, by, options) {
    return new Entry(native.incr(this.#id, key, by, flat(options)))
  }

  update(key, change, options) {
    return entryOrNull(native.update(this.#id, key, change, flat(options)))
  }

  getMany(keys) {
    native.ensureRunning(this.#id)
    return entriesOf(native.getMany(this.#id, arrayOf(keys)))
  }

  putMany(items, options) {
    native.ensureRunning(this.#id)
    return entriesOf(native.putMany(this.#id, pairsOf(items), flat(options)))
  }

  deleteMany(keys, options) {
    native.ensureRunning(this.#id)
    return entriesOf(native.deleteMany(this.#id, arrayOf(keys), flat(options)))
  }

  keys(options) {
    return page(...native.keys(this.#id, flatOrPrefix(options)))
  }

  entries(options) {
    const [packed, cursor] = native.entries(this.#id, flatOrPrefix(options))
    return page(entriesOf(packed), cursor)
  }

  count(prefix) {
    return native.count(this.#id, prefix)
  }

  clear(prefix, options) {
    return native.clear(this.#id, prefix, flat(options))
  }

  digest() {
    return native.digest(this.#id)
  }

  stats() {
    return native.stats(this.#id)
  }

  options() {
    return native.options(this.#id)
  }

  ready() {
    return native.ready(this.#id)
  }

  async waitSynced(timeout, options) {
    native.ensureRunning(this.#id)
    const signal = signalOf(options)
    signal?.throwIfAborted()
    const waiting = native.sync(this.#id, timeout, flat(options))
    if (waiting === undefined) return
    const [id, ms] = waiting
    let over = false
    const cancel = after(ms, () => {
      over = true
      handlers.get(id)?.()
    })
    try {
      await waitFor(id, (wait) => native.syncTake(wait, over), signal)
    } finally {
      cancel()
    }
  }

  members() {
    return native.members(this.#id).map((member) => Object.freeze(member))
  }

  endpoints() {
    return native.endpoints(this.#id)
  }

  advance(ms) {
    native.advance(this.#id, ms)
    // What fell due is settled when this returns, not at the next turn of the event loop.
    dispatch()
  }

  watch(options) {
    native.ensureRunning(this.#id)
    const signal = plainSignal(options)
    const id = native.watch(this.#id, flatOrPrefix(options))
    if (signal?.aborted) {
      native.drop(id)
      throw signal.reason
    }
    return new Watch(id, signal)
  }

  async lock(key, options) {
    native.checkKey(this.#id, key)
    const signal = signalOf(options)
    signal?.throwIfAborted()
    const result = native.lock(this.#id, key, flat(options))
    if (typeof result !== 'number') return entryOrNull(result)
    return entryOrNull(await waitFor(result, native.lockTake, signal))
  }

  async locked(key, options, body) {
    if (typeof options === 'function' && body === undefined) [options, body] = [undefined, options]
    native.checkKey(this.#id, key)
    if (body !== undefined && typeof body !== 'function') {
      throw invalidArgument('locked takes a function, or none')
    }
    const signal = signalOf(options)
    signal?.throwIfAborted()
    const id = this.#id
    let result = native.locked(id, key, flat(options))
    if (typeof result === 'number') {
      result = await waitFor(result, (wait) => native.lockedTake(wait, id), signal)
    }
    const held = new Held(result)
    return body === undefined ? held : scope(held, body)
  }

  async getOrPut(key, compute, options) {
    native.checkKey(this.#id, key)
    if (typeof compute !== 'function') throw invalidArgument('getOrPut takes a function')
    const signal = signalOf(options)
    signal?.throwIfAborted()
    for (;;) {
      const result = native.getOrPut(this.#id, key, flat(options))
      if (typeof result === 'string') return new Entry(result)
      if (typeof result === 'object') return this.#compute(key, result[0], compute, signal)
      this.#refuseOwn(key, result)
      const packed = await waitFor(result, native.valueTake, signal)
      if (packed !== null) return new Entry(packed)
    }
  }

  async #compute(key, id, compute, signal) {
    let leave
    const aborted = new Promise((_, reject) => {
      leave = () => reject(signal.reason)
    })
    signal?.addEventListener('abort', leave, { once: true })
    try {
      const around = computing.getStore()
      const own = { registry: this.#identity(), key: keyText(key), around }
      const value = computing.run(own, async () => compute())
      return new Entry(native.computed(id, await (signal ? Promise.race([value, aborted]) : value)))
    } finally {
      signal?.removeEventListener('abort', leave)
      // Without a value the next who waits may try; after one there is nothing left to give back.
      native.drop(id)
    }
  }

  /** A computation that waits for itself would wait for ever. */
  #refuseOwn(key, wait) {
    const registry = this.#identity()
    const text = keyText(key)
    for (let own = computing.getStore(); own !== undefined; own = own.around) {
      if (own.registry === registry && own.key === text) {
        native.drop(wait)
        throw invalidArgument('getOrPut was called for a key from within its own computation')
      }
    }
  }

  /** Handles of one registry share its name; a registry without one has only this handle. */
  #identity() {
    this.#name ??= native.options(this.#id).name ?? this
    return this.#name
  }

  stop() {
    return (this.#stopping ??= this.#stop())
  }

  async #stop() {
    const id = native.stop(this.#id)
    // Before the dispatch, which may tell of this very wait.
    const stopped = id === undefined ? undefined : waitFor(id, native.stopTake)
    // Whoever waits learns of it.
    dispatch()
    await stopped
  }

  #leave() {
    if (this.#starter) return this.stop()
    handles.unregister(this)
    native.close(this.#id)
    this.#id = RELEASED
    this.#near = null
    return undefined
  }

  [Symbol.dispose]() {
    this.#leave()
  }

  async [Symbol.asyncDispose]() {
    await this.#leave()
  }
}

/** Runs `body` and releases; an error of its own comes before one of the release. */
async function scope(held, body) {
  let result
  try {
    result = await body(held)
  } catch (error) {
    try {
      held.release()
    } catch {
      // The body's error is on its way already.
    }
    throw error
  }
  held.release()
  return result
}

function fileOf(url) {
  try {
    return fileURLToPath(url)
  } catch (error) {
    throw invalidArgument(`path is no path of a file: ${error.message}`)
  }
}

/** The options as the addon reads them, the name among them. */
function startOptions(name, options) {
  if (name !== null && typeof name === 'object' && options === undefined) return flat(name)
  if (name === undefined || name === null) return flat(options)
  const given = options?.name
  if (given !== undefined && given !== null && given !== name) {
    throw invalidArgument('the name was given twice')
  }
  const list = flat(options) ?? []
  if (Array.isArray(list)) list.push('name', name)
  return list
}

/** A key as text, the same for all ways to write it. */
const keyText = (key) => Buffer.from(key).toString('hex')

/** A prefix has no signal; a getter of a foreign object is not asked. */
function plainSignal(options) {
  return typeof options === 'object' && !ArrayBuffer.isView(options) ? signalOf(options) : undefined
}

function arrayOf(keys) {
  if (Array.isArray(keys)) return keys
  if (typeof keys === 'object' && typeof keys?.[Symbol.iterator] === 'function') return [...keys]
  throw invalidArgument('keys are an array, or another iterable')
}

/** Keys and values in turn, of pairs or of a Map. */
function pairsOf(items) {
  if (typeof items !== 'object' || typeof items?.[Symbol.iterator] !== 'function') {
    throw invalidArgument('items are pairs of key and value: an array of them, or a Map')
  }
  const flat = []
  for (const pair of items) {
    if (!Array.isArray(pair) || pair.length !== 2) {
      throw invalidArgument('an item is a pair of key and value')
    }
    flat.push(pair[0], pair[1])
  }
  return flat
}

/** A list that knows where the next one starts. */
function page(items, cursor) {
  // Not enumerable: as an array it equals any other of the same items.
  return Object.defineProperty(items, 'cursor', { value: cursor })
}

module.exports = { Registry }
