'use strict'

// The addon once it knows its helpers, and how what it waits for gets back here.

const native = require('./addon')
const { makeError, invalidArgument } = require('./errors')
const { exotic, KEEP, DELETE } = require('./values')

/**
 * What all copies of this file in one thread have in common: test runners load it anew for each test, the addon only
 * once. `handlers`: for each id that is waited for what to do when it is ready; `alive`: how many of those who wait
 * keep the process alive.
 */
const shared = (native.shared ??= { handlers: new Map(), alive: 0 })
const { handlers } = shared

function dispatch() {
  for (const id of native.takeReady()) handlers.get(id)?.()
}

native.init(dispatch, makeError, exotic, KEEP, DELETE)

function keepAlive(by) {
  shared.alive += by
  if (shared.alive === (by > 0 ? 1 : 0)) native.keepAlive(shared.alive > 0)
}

/** Checks the option `signal`; its place in `options` is the addon's to check. */
function signalOf(options) {
  const signal = options?.signal
  if (signal === undefined || signal === null) return undefined
  if (!(signal instanceof AbortSignal)) throw invalidArgument('signal is an AbortSignal')
  return signal
}

/**
 * The result of what is waited for under `id`; `take` gives it, or undefined as long as there is none.
 * The process stays alive for it. An abort gives the place, or what was granted meanwhile, back.
 */
function waitFor(id, take, signal) {
  return new Promise((resolve, reject) => {
    const end = () => {
      handlers.delete(id)
      signal?.removeEventListener('abort', abort)
      keepAlive(-1)
    }
    const abort = () => {
      end()
      native.drop(id)
      reject(signal.reason)
    }
    const ready = () => {
      let result
      try {
        result = take(id)
      } catch (error) {
        end()
        reject(error)
        return
      }
      if (result === undefined) return
      end()
      resolve(result)
    }
    keepAlive(+1)
    handlers.set(id, ready)
    signal?.addEventListener('abort', abort, { once: true })
    if (signal?.aborted) abort()
  })
}

/** The longest time that a timer of Node can be set to. */
const LONGEST = 2 ** 31 - 1

/** Calls `ring` after so many ms, be they infinite; what comes back takes that back. */
function after(ms, ring) {
  let timer
  const set = (left) => {
    if (left === Infinity) return
    timer = left > LONGEST ? setTimeout(set, LONGEST, left - LONGEST) : setTimeout(ring, left)
  }
  set(ms)
  return () => clearTimeout(timer)
}

/** Gives back what a collected object held. */
const slots = new FinalizationRegistry((id) => {
  handlers.delete(id)
  native.drop(id)
})
const handles = new FinalizationRegistry((id) => native.close(id))

module.exports = { native, after, handlers, dispatch, keepAlive, signalOf, waitFor, slots, handles }
