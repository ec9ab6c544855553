'use strict'

const { native } = require('./native')

// Before anyone puts another clock in its place: what has expired by the real one has expired.
const { now } = Date

/** How many values are kept at most. */
const MOST = 4096

/** So many reads go by without a value being kept, once keeping them was of no use. */
const PAUSE = 8 * MOST

/** What may be kept of the value that was read last: integers and a float, in memory that the addon writes. */
const shared = (native.shared.note ??= native.note())
const note = shared === undefined ? undefined : { words: new Int32Array(shared), time: new Float64Array(shared) }
const NOTHING = -1

class Kept {
  constructor(value) {
    this.value = value
    // Each slot has two words of a counter.
    this.slot = 2 * note.words[0]
    this.low = note.words[1]
    this.high = note.words[2]
    this.until = note.time[2]
  }
}

/**
 * The values that were read last through one handle. Each write, wherever it comes from, changes a counter in memory
 * that is read here: a value is given out again only while the counter of its key stays as it was before the value
 * was read, and before the entry expires. Kept are only values that nobody can change.
 */
class Near {
  #counters
  #kept = new Map()
  #hits = 0
  #pause = 0

  constructor(counters) {
    this.#counters = new Int32Array(counters)
  }

  /** For this handle, or null where memory cannot be shared. */
  static of(id) {
    const counters = note === undefined ? undefined : native.counters(id)
    return counters === undefined ? null : new Near(counters)
  }

  /** What is kept of this key and still so; otherwise undefined. */
  get(key) {
    const kept = this.#kept.get(key)
    if (
      kept === undefined ||
      // The lower word is read as another thread may write it at any time; the higher one after it.
      Atomics.load(this.#counters, kept.slot) !== kept.low ||
      this.#counters[kept.slot + 1] !== kept.high ||
      (kept.until !== Infinity && now() >= kept.until)
    ) {
      return undefined
    }
    this.#hits++
    return kept
  }

  /** Takes the value that was read just now. */
  keep(key, value) {
    if (note.words[0] === NOTHING) return
    if (this.#pause > 0) {
      this.#pause--
      return
    }
    if (this.#kept.size >= MOST) {
      // Not worth it, where most are gone before they are read again.
      if (this.#hits < MOST) this.#pause = PAUSE
      this.#hits = 0
      this.#kept.clear()
    }
    this.#kept.set(key, new Kept(value))
  }
}

module.exports = { Near }
