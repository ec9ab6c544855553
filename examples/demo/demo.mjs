// demo INPUT: puts the lines of a file, counts their words under locks, waits for tickets to expire.
//
// Prints one line of JSON; the progress goes to stderr.

import fs from 'node:fs'
import { Registry } from '../../node/index.mjs'

const LANGUAGE = 'Node'
const PATIENCE = 30_000

/** A bar that is rewritten in place, or one line for each phase where nobody looks. */
class Progress {
  #phase
  #total
  #shown = -1

  constructor(phase, total) {
    this.#phase = phase
    this.#total = total
    this.at(0)
  }

  at(done) {
    const percent = this.#total > 0 ? Math.floor((100 * done) / this.#total) : 100
    const terminal = process.stderr.isTTY
    if (percent === this.#shown || (!terminal && percent < 100)) return
    this.#shown = percent
    const bar = '#'.repeat(Math.floor(percent / 5)).padEnd(20, '-')
    const line = `${LANGUAGE.padEnd(6)} ${this.#phase.padEnd(6)} [${bar}] ${String(percent).padStart(3)}%`
    process.stderr.write((terminal ? '\r' : '') + line + (percent === 100 ? '\n' : ''))
  }
}

function linesOf(input) {
  const lines = []
  let start = 0
  for (let end; (end = input.indexOf(0x0a, start)) >= 0; start = end + 1) lines.push(input.subarray(start, end))
  if (start < input.length) lines.push(input.subarray(start))
  return lines
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function textOf(line) {
  try {
    return utf8.decode(line)
  } catch {
    return line
  }
}

/** Runs of bytes other than space and tab. */
function words(line) {
  let count = 0
  let within = false
  for (const byte of line) {
    const blank = byte === 0x20 || byte === 0x09
    if (!blank && !within) count++
    within = !blank
  }
  return count
}

const key = (kind, number) => `${kind}:${String(number).padStart(6, '0')}`

function put(kv, lines) {
  const progress = new Progress('put', lines.length)
  let tickets = 0
  for (const [i, line] of lines.entries()) {
    kv.put(key('line', i), { text: textOf(line) }, { ttl: '1h' })
    if (i % 4 === 0) {
      kv.put(key('ticket', i), i, { ttl: 300 })
      tickets++
    }
    progress.at(i + 1)
  }
  return tickets
}

async function work(kv, lines) {
  const progress = new Progress('work', lines.length)
  for (const [i, line] of lines.entries()) {
    await kv.locked(key('line', i), (held) => {
      const { value } = held.get()
      held.put({ ...value, words: words(line) }, { keepTtl: true })
    })
    progress.at(i + 1)
  }
}

async function expire(watch, tickets) {
  const progress = new Progress('expire', tickets)
  const counts = { lock: 0, expire: 0 }
  const count = (event) => {
    if (event.type === 'lagged') throw new Error('events were lost')
    if (event.type in counts) counts[event.type]++
  }
  while (counts.expire < tickets) {
    const { value, done } = await watch.next()
    if (done) throw new Error('the watch has ended')
    count(value)
    progress.at(counts.expire)
  }
  // Whatever is queued already, so that no lock goes uncounted.
  for (let event; (event = watch.tryNext()) !== null; ) count(event)
  return counts
}

async function run(path) {
  const started = performance.now()
  const lines = linesOf(fs.readFileSync(path))
  const kv = new Registry('demo')
  const tooLong = new AbortController()
  let timer
  try {
    const watch = kv.watch({ capacity: 1_048_576, signal: tooLong.signal })
    const tickets = put(kv, lines)
    await work(kv, lines)
    const late = new Error(`the tickets did not expire within ${PATIENCE} ms`)
    timer = setTimeout(() => tooLong.abort(late), PATIENCE)
    const counts = await expire(watch, tickets)
    return {
      language: LANGUAGE,
      entries: kv.count('line:'),
      locks: counts.lock,
      expired: counts.expire,
      seconds: Math.round(performance.now() - started) / 1000,
      digest: kv.digest(),
    }
  } finally {
    clearTimeout(timer)
    await kv.stop()
  }
}

const [input, ...rest] = process.argv.slice(2)
if (input === undefined || rest.length > 0) {
  console.error('usage: demo.mjs INPUT')
  process.exitCode = 1
} else {
  try {
    console.log(JSON.stringify(await run(input)))
  } catch (error) {
    console.error(`demo: ${error.name}: ${error.message}`)
    process.exitCode = 1
  }
}
