// demo NODE INPUT ITEMS PAUSE_MS [PEER...]: a member of the demo's cluster. The same program in four languages.
//
// The first member has no peers and puts the lines of the input as items. Every member claims items with
// lock, counts their words and finishes them with put; what it does it writes to standard output,
// what to do comes from standard input: "go", then "report MEMBERS". At the end of that it leaves.

import fs from 'node:fs'
import readline from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { Registry } from '../../node/index.mjs'

/** Claims of a member that was killed are free after twice this time. */
const FAILURE_TIMEOUT = 500
const PATIENCE = 30_000

const tell = (...words) => process.stdout.write(`${words.join(' ')}\n`)

/** Puts the items: each is the line itself until it is finished. */
function load(kv, path, items) {
  const input = fs.readFileSync(path)
  const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  for (let number = 0, start = 0; number < items && start <= input.length; number++) {
    const end = input.indexOf(0x0a, start)
    const line = input.subarray(start, end < 0 ? input.length : end)
    let text = line
    try {
      text = utf8.decode(line)
    } catch {
      // Bytes, then.
    }
    kv.put(`item:${String(number).padStart(6, '0')}`, text)
    start += line.length + 1
  }
}

async function work(kv, node, pause) {
  let todo = kv.keys('item:').sort()
  // At first without waiting; what others have claimed then is waited for: they finish it, or die.
  let wait = 0
  while (todo.length > 0) {
    const left = []
    for (const key of todo) {
      const seen = kv.get(key)
      if (seen === null) throw new Error(`${key} is gone`)
      if (isFinished(seen)) continue
      if ((seen.lock && wait === 0) || !(await settle(kv, node, key, wait, pause))) left.push(key)
    }
    todo = left
    wait = FAILURE_TIMEOUT
  }
  tell('over')
}

/** Finishes an item, unless somebody else has it. False: it has to be looked at again. */
async function settle(kv, node, key, wait, pause) {
  let entry
  try {
    entry = await kv.lock(key, { wait })
  } catch (error) {
    // cluster: whoever gives locks died just now, and another takes over.
    if (['locked', 'cluster'].includes(error.code)) return false
    throw error
  }
  if (entry === null) throw new Error(`${key} is gone`)
  const { fence } = entry
  try {
    if (!isFinished(entry)) {
      tell('claim', key, fence)
      await sleep(pause)
      kv.put(key, { by: node, fence, words: words(entry.value) }, { fence })
      tell('done', key, fence)
    }
    kv.unlock(key, { fence })
  } catch (error) {
    // The others took this member for dead: whoever has the item now finishes it.
    if (!['locked', 'stale_fence'].includes(error.code)) throw error
    tell('lost', key, fence)
    return false
  }
  return true
}

const isFinished = (entry) => entry.type === 'map'

/** Runs of bytes other than space and tab. */
function words(line) {
  const text = typeof line === 'string' ? line : line.toString('latin1')
  return text.split(/[ \t]+/).filter((word) => word !== '').length
}

/** Waits until so many live members hold the same, then tells what that is, and what was seen on the way. */
async function report(kv, watch, members) {
  const started = performance.now()
  let live
  for (;;) {
    live = kv.members().filter((member) => member.state === 'live')
    if (live.length === members && live.every((member) => member.digest === live[0].digest)) break
    if (performance.now() - started > PATIENCE) {
      throw new Error(`the members do not agree: ${JSON.stringify(live)}`)
    }
    await sleep(20)
  }
  for (const { node, incarnation, digest } of live) tell('member', node, incarnation, digest)
  tell('digest', kv.digest())
  for (const { key, value } of kv.entries('item:')) tell('item', key, value.by, value.fence, value.words)
  // Every finished item that arrived here since the start, a second time if there was one.
  for (let event; (event = watch.tryNext()) !== null; ) {
    if (event.type === 'lagged') throw new Error('the watch was too slow')
    if (event.type === 'put' && isFinished(event.entry)) tell('saw', event.key)
  }
  tell('end')
}

async function run(node, path, items, pause, peers) {
  const kv = await Registry.start('demo', { cluster: 'demo', node, peers, failureTimeout: FAILURE_TIMEOUT })
  try {
    await kv.waitSynced(PATIENCE)
    if (peers.length === 0) load(kv, path, items)
    const watch = kv.watch({ prefix: 'item:', capacity: 1 << 20 })
    const own = kv.members().find((member) => member.isSelf)
    tell('ready', kv.endpoints()[0], own.incarnation)
    for await (const line of readline.createInterface({ input: process.stdin })) {
      const [command, members] = line.split(' ')
      if (command === 'go') await work(kv, node, pause)
      else if (command === 'report') await report(kv, watch, Number(members))
      else throw new Error(`what is ${line}?`)
    }
  } finally {
    // Else the pipe keeps a process alive that has failed.
    process.stdin.destroy()
    await kv.stop()
  }
}

const [node, path, items, pause, ...peers] = process.argv.slice(2)
if (pause === undefined) {
  console.error('usage: demo NODE INPUT ITEMS PAUSE_MS [PEER...]')
  process.exitCode = 1
} else {
  try {
    await run(node, path, Number(items), Number(pause), peers)
  } catch (error) {
    console.error(`demo: ${error.name}: ${error.message}`)
    process.exitCode = 1
  }
}
