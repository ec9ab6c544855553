'use strict'
// A member of a cluster that does what it is told; README.md says how.

const path = require('node:path')
const readline = require('node:readline')
const { setTimeout: sleep } = require('node:timers/promises')
const { MinikvError, Registry } = require(path.resolve(__dirname, '../../../node'))

const now = () => process.hrtime.bigint()
const guards = new Map()
const seen = { counts: {}, members: [], owners: [] }
let kv

// Times exceed what a number holds exactly, but not by as much as anything here takes.
const plain = (_, value) => (typeof value === 'bigint' ? Number(value) : value)
const say = (line) => process.stdout.write(JSON.stringify(line, plain) + '\n')
// Nobody listens any more: the end of the input will say so too.
process.stdout.on('error', () => {})

function split(words) {
  const isOption = (word) => word.includes('=')
  const options = words.filter(isOption).map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)])
  return [words.filter((word) => !isOption(word)), Object.fromEntries(options)]
}

function shown(entry) {
  if (!entry) return null
  const { key, value, node, timeNs, fence, lock } = entry
  return { key, value, node, time: String(timeNs), fence: fence === null ? null : String(fence), lock }
}

const number = (text) => (text === undefined ? undefined : Number(text))
const write = ({ owner, fence }) => ({ owner, fence: fence === undefined ? undefined : BigInt(fence) })
const lock = ({ owner, wait, lease }) => ({ owner, wait: number(wait), lease: number(lease) })

async function guard(name, key, options) {
  const taken = await new Promise((resolve, reject) => {
    const hold = { told: 0 }
    const body = (held) =>
      new Promise((release) => {
        Object.assign(hold, { held, release })
        held.signal.addEventListener('abort', () => hold.told++)
        resolve(hold)
      })
    hold.done = kv.locked(key, lock(options), body)
    hold.done.catch(reject)
  })
  guards.set(name, taken)
  return { fence: String(taken.held.fence) }
}

function named(name) {
  if (!guards.has(name)) throw new MinikvError('not_found', 'there is no such guard')
  return guards.get(name)
}

async function release(name) {
  const { done, release } = named(name)
  guards.delete(name)
  release()
  await done
  return null
}

async function fill(prefix, count, size) {
  const value = 'v'.repeat(Number(size))
  for (let n = 0; n < count; n++) kv.put(`${prefix}${n}`, value)
  return null
}

async function burst(prefix, keys, rounds, label, pause) {
  const took = []
  for (let turn = 0; turn < rounds; turn++) {
    for (let n = 0; n < keys; n++) {
      const [key, value] = [`${prefix}${n}`, `${label}:${turn}`]
      const began = now()
      kv.put(key, value)
      took.push(Number(now() - began))
      // Timers are in milliseconds: several puts, then one long enough for them.
      if (pause > 0 && took.length % 10 === 0) await sleep(Number(pause) / 100)
    }
    await sleep(0)
  }
  took.sort((a, b) => a - b)
  const at = (part) => took[Math.min(Math.floor((took.length * part) / 1000), took.length - 1)]
  return { puts: took.length, p50: at(500), p99: at(990), max: took[took.length - 1] }
}

async function race(prefix, keys, options) {
  const got = []
  for (let n = 0; n < keys; n++) {
    const key = `${prefix}${n}`
    let entry
    try {
      entry = await kv.lock(key, lock(options))
    } catch (error) {
      if (error.code === 'locked') continue
      throw error
    }
    const began = now()
    while (now() - began < BigInt(options.hold ?? 0) * 1000n);
    got.push([n, String(entry.fence), began, now()])
    if (options.keep === undefined) kv.unlock(key, write(options))
  }
  return got
}

async function note(watch) {
  for await (const event of watch) {
    seen.counts[event.type] = (seen.counts[event.type] ?? 0) + event.count
    if (event.type === 'member') seen.members.push([event.node, event.state])
    if (event.type === 'owner') seen.owners.push([event.node, event.owner])
  }
}

function members() {
  return kv.members().map(({ isSelf, ...member }) => ({ ...member, is_self: isSelf }))
}

function stats() {
  const { members, repairs, refused, outboxOverflows, replicatedOut, replicatedIn, workerRestarts } = kv.stats()
  const [overflows, restarts] = [outboxOverflows, workerRestarts]
  return { members, repairs, refused, overflows, replicated_out: replicatedOut, replicated_in: replicatedIn, restarts }
}

const verbs = {
  get: ([key]) => shown(kv.get(key)),
  put: ([key, value], options) => shown(kv.put(key, value, write(options))),
  delete: ([key], options) => shown(kv.delete(key, write(options))),
  lock: async ([key], options) => shown(await kv.lock(key, lock(options))),
  unlock: ([key], options) => shown(kv.unlock(key, write(options))),
  guard: ([name, key], options) => guard(name, key, options),
  guard_put: ([name, value]) => shown(named(name).held.put(value)),
  guard_state: ([name]) => ({ lost: named(name).held.lost, told: named(name).told }),
  guard_release: ([name]) => release(name),
  members,
  endpoints: () => kv.endpoints(),
  digest: () => kv.digest(),
  count: ([prefix]) => kv.count(prefix),
  waiters: () => kv.stats().waiters,
  sync: async ([ms]) => (await kv.waitSynced(Number(ms)), null),
  stats,
  dump: ([prefix]) => kv.entries({ prefix }).map(shown),
  fill: (words) => fill(...words),
  burst: (words) => burst(...words),
  race: ([prefix, keys], options) => race(prefix, keys, options),
  watch: ([prefix]) => (note(kv.watch(prefix)), null),
  events: () => structuredClone(seen),
  stop: async () => (await kv.stop(), null),
}

async function answer(id, verb, words, options) {
  const began = now()
  let reply
  try {
    if (!verbs[verb]) throw new MinikvError('invalid_argument', 'there is no such verb')
    reply = { ok: await verbs[verb](words, options) }
  } catch (error) {
    if (!(error instanceof MinikvError)) throw error
    reply = { error: error.code, message: error.message }
  }
  say({ id, ...reply, began, ended: now() })
}

async function main() {
  const [, options] = split(process.argv.slice(2))
  const listed = (name) => (options[name] ? options[name].split(',') : undefined)
  const [ca, cert, key] = listed('tls') ?? []
  try {
    kv = await Registry.start(null, {
      node: options.node,
      cluster: options.cluster,
      listen: listed('listen'),
      peers: listed('peers'),
      failureTimeout: Number(options.failure),
      discovery: options.discovery,
      tls: ca && { ca, cert, key },
    })
  } catch (error) {
    if (!(error instanceof MinikvError)) throw error
    say({ error: error.code, message: error.message })
    process.exitCode = 1
    return
  }
  say({ endpoints: kv.endpoints() })
  let last = Promise.resolve()
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [id, ...rest] = line.split(' ')
    const beside = rest[0] === '&'
    const [verb, ...words] = beside ? rest.slice(1) : rest
    const call = () => answer(Number(id), verb, ...split(words))
    if (beside) call()
    else last = last.then(call)
  }
  // Whatever still waits: the input is over.
  process.exit(0)
}

main()
