// Executes one conformance case: its steps, and what each may ask of its result.

import { setImmediate as turn } from 'node:timers/promises'
import minikv from 'minikv'
import { Mismatch, fail, onlyFields, sameKey, sameValue, toKey, toValue } from './forms.mjs'

const START_NS = 1_700_000_000_000_000_000n
const SNAKE = /_([a-z])/g
const camel = (name) => name.replace(SNAKE, (_, letter) => letter.toUpperCase())

/** The error that functions of `fn` raise. */
const THROWN = new Error('raised by the function')

const REGISTRY = {
  node: 'node',
  default_ttl_ms: 'defaultTtl',
  lock_lease_ms: 'lockLease',
  max_value_bytes: 'maxValueBytes',
  max_entries: 'maxEntries',
  max_bytes: 'maxBytes',
  max_watchers: 'maxWatchers',
}

const WRITE = ['owner', 'fence', 'fence_of_step', 'if_version', 'if_version_of_step']
const PUT = [...WRITE, 'ttl_ms', 'persist', 'keep_ttl', 'if_absent']
const LOCK = ['owner', 'lease_ms', 'wait_ms']
const GUARD = ['get', 'put', 'delete', 'incr', 'update', 'touch', 'persist', 'check', 'release']
const AROUND = ['op', 'expect', 'error', 'save', 'same', 'differs', 'greater', 'spawn', 'comment']

class Case {
  watches = new Map()
  guards = new Map()
  jobs = new Map()
  saved = new Map()
  results = []
  now = START_NS

  constructor(registry) {
    onlyFields(registry, Object.keys(REGISTRY), 'registry')
    const options = { clock: 'manual' }
    for (const [field, value] of Object.entries(registry)) options[REGISTRY[field]] = value
    this.kv = new minikv.Registry(options)
  }

  /** The options of a step, by the names of this language. */
  options(step, known) {
    const options = {}
    for (const field of known) {
      if (!(field in step)) continue
      const value = step[field]
      if (field === 'owner') options.owner = toKey(value)
      else if (field === 'fence_of_step') options.fence = this.results[value].fence
      else if (field === 'if_version_of_step') options.ifVersion = this.results[value].version
      else if (field === 'cursor_of_step') options.cursor = this.results[value].cursor
      else if (field === 'prefix' || field === 'key') options[field] = toKey(value)
      else options[camel(field.replace(/_ms$/, ''))] = value
    }
    return Object.keys(options).length > 0 ? options : undefined
  }

  /** Runs one step; what it gives, or a promise of it. */
  run(step) {
    const { kv } = this
    const fields = (...known) => onlyFields(step, [...AROUND, ...known], step.op)
    const key = () => toKey(step.key)
    if ('of' in step && GUARD.includes(step.op)) return this.runGuard(step, fields)
    switch (step.op) {
      case 'get':
      case 'contains':
        fields('key')
        return kv[step.op](key())
      case 'put':
      case 'set':
        fields('key', 'value', ...PUT, 'lock', 'lease_ms')
        if (step.lock) {
          const options = this.options(step, [...PUT, 'lease_ms'])
          return kv.lock(key(), { ...options, put: toValue(step.value) })
        }
        return kv[step.op](key(), toValue(step.value), this.options(step, PUT))
      case 'delete':
      case 'unlock':
      case 'persist':
        fields('key', ...WRITE)
        return kv[step.op](key(), this.options(step, WRITE))
      case 'touch':
        fields('key', 'ttl_ms', ...WRITE)
        return kv.touch(key(), step.ttl_ms, this.options(step, WRITE))
      case 'incr':
        fields('key', 'by', ...WRITE)
        return kv.incr(key(), toValue(step.by), this.options(step, WRITE))
      case 'update':
        fields('key', 'fn', ...WRITE)
        return kv.update(key(), functionOf(step.fn, true), this.options(step, WRITE))
      case 'get_or_put':
        fields('key', 'fn', ...PUT)
        return kv.getOrPut(key(), functionOf(step.fn, false), this.options(step, PUT))
      case 'lock': {
        fields('key', ...LOCK, ...PUT, 'put')
        const options = this.options(step, [...LOCK, ...PUT.slice(1)])
        return kv.lock(key(), 'put' in step ? { ...options, put: toValue(step.put) } : options)
      }
      case 'get_many':
        fields('keys')
        return kv.getMany(step.keys.map(toKey))
      case 'put_many': {
        fields('items', ...PUT)
        const items = step.items.map(([key, value]) => [toKey(key), toValue(value)])
        return kv.putMany(items, this.options(step, PUT))
      }
      case 'delete_many':
        fields('keys', ...WRITE)
        return kv.deleteMany(step.keys.map(toKey), this.options(step, WRITE))
      case 'keys':
      case 'entries':
        fields('prefix', 'limit', 'cursor_of_step')
        return kv[step.op](this.options(step, ['prefix', 'limit', 'cursor_of_step']))
      case 'count':
        fields('prefix')
        return kv.count('prefix' in step ? toKey(step.prefix) : undefined)
      case 'clear':
        fields('prefix', ...WRITE)
        return kv.clear('prefix' in step ? toKey(step.prefix) : undefined, this.options(step, WRITE))
      case 'value': {
        fields('key', 'default')
        const value = 'default' in step ? kv.value(key(), toValue(step.default)) : kv.value(key())
        return value === undefined ? null : value
      }
      case 'digest':
      case 'stats':
      case 'options':
        fields()
        return kv[step.op]()
      case 'start':
        fields('options')
        return startAndStop(step.options)
      case 'ready':
      case 'members':
      case 'endpoints':
        fields()
        return kv[step.op]()
      case 'wait_synced':
        fields('timeout_ms')
        return kv.waitSynced(step.timeout_ms)
      case 'watch':
        fields('as', 'prefix', 'key', 'initial', 'capacity')
        this.watches.set(step.as, kv.watch(this.options(step, ['prefix', 'key', 'initial', 'capacity'])))
        return undefined
      case 'events': {
        fields('of')
        const events = []
        for (let event; (event = this.watches.get(step.of).tryNext()) !== null; ) events.push(event)
        return events
      }
      case 'locked':
        fields('key', 'as', ...LOCK, 'create')
        return kv.locked(key(), this.options(step, [...LOCK, 'create'])).then((held) => {
          this.guards.set(step.as, held)
          return held.get()
        })
      case 'lost':
        fields('of')
        return this.guards.get(step.of).lost
      case 'advance':
        fields('ms')
        kv.advance(step.ms)
        this.now += BigInt(step.ms) * 1_000_000n
        return undefined
      case 'stop':
        fields()
        return kv.stop()
      default:
        throw new Mismatch(`unknown op: ${step.op}`)
    }
  }

  runGuard(step, fields) {
    const held = this.guards.get(step.of)
    if (held === undefined) throw new Mismatch(`no guard ${step.of}`)
    fields('of', 'value', 'by', 'fn', 'ttl_ms')
    switch (step.op) {
      case 'put':
        return held.put(toValue(step.value))
      case 'incr':
        return held.incr(toValue(step.by))
      case 'update':
        return held.update(functionOf(step.fn, true))
      case 'touch':
        return held.touch(step.ttl_ms)
      default:
        return held[step.op]()
    }
  }

  async step(step, at) {
    if (step.op === 'join') {
      onlyFields(step, [...AROUND, 'of'], 'join')
      const job = this.jobs.get(step.of)
      if (job === undefined) throw new Mismatch(`no job ${step.of}`)
      this.jobs.delete(step.of)
      await this.judge({ ...step, op: job.op }, at, () => job.promise)
    } else if ('spawn' in step) {
      const before = this.kv.stats().waiters
      const promise = this.run(step)
      promise.catch(() => {})
      this.jobs.set(step.spawn, { op: step.op, promise })
      while (this.kv.stats().waiters < before + 1) await turn()
    } else {
      await this.judge(step, at, () => this.run(step))
    }
  }

  async judge(step, at, run) {
    let result
    try {
      result = await run()
    } catch (error) {
      if (error instanceof Mismatch) throw error
      if (!('error' in step)) fail('result', 'no error', `${error.code}: ${error.stack}`)
      this.judgeError(step.error, error)
      return
    }
    if ('error' in step) fail('error', step.error, result)
    this.results[at] = result
    if ('expect' in step) this.judgeResult(step, result)
    for (const [name, field] of Object.entries(step.save ?? {})) {
      this.saved.set(name, fieldOf(step, result, field))
    }
    const relations = { same: (a, b) => a === b, differs: (a, b) => a !== b, greater: (a, b) => a > b }
    for (const [relation, holds] of Object.entries(relations)) {
      for (const [field, name] of Object.entries(step[relation] ?? {})) {
        const [got, saved] = [fieldOf(step, result, field), this.saved.get(name)]
        if (saved === undefined) throw new Mismatch(`nothing saved as ${name}`)
        if (!holds(got, saved)) fail(`${field} ${relation} ${name}`, saved, got)
      }
    }
  }

  judgeError(expected, error) {
    if (expected === 'throw') {
      if (error !== THROWN) fail('error', 'the very error that the function raised', error)
      return
    }
    const { kind, ...rest } = typeof expected === 'string' ? { kind: expected } : expected
    onlyFields(rest, ['entry'], 'error')
    const own = error instanceof minikv.MinikvError
    if (!own || error.code !== kind) fail('error', kind, own ? error.code : error)
    if (kind === 'conflict' && error.entry === undefined) fail('conflict', 'an entry or null', undefined)
    if ('entry' in rest) {
      if (rest.entry === null || error.entry === null) {
        if (error.entry !== rest.entry) fail('entry of the conflict', rest.entry, error.entry)
      } else this.judgeEntry(rest.entry, error.entry)
    }
  }

  judgeEntry(expected, entry) {
    if (!(entry instanceof minikv.Entry)) fail('entry', expected, entry)
    for (const [field, value] of Object.entries(expected)) {
      const holds = {
        key: () => sameKey(value, entry.key),
        value: () => sameValue(value, entry.value, entry.type),
        type: () => entry.type === value,
        node: () => entry.node === value,
        exp_in_ms: () =>
          value === null
            ? entry.expNs === null && entry.exp === null
            : entry.expNs === this.now + BigInt(value) * 1_000_000n,
        lock: () => entry.lock === value,
        holder: () => sameHolder(value, entry.holder),
        fence: () => value === null && entry.fence === null,
      }[field]
      if (holds === undefined) throw new Mismatch(`unknown field of an entry: ${field}`)
      if (!holds()) fail(field, value, entry)
    }
  }

  judgeResult(step, result) {
    const { expect } = step
    onlyFields(
      expect,
      'entry nil bool count keys entries cursor value stats options members endpoints events unordered'.split(' '),
      'expect',
    )
    if ('entry' in expect) this.judgeEntry(expect.entry, result)
    if ('nil' in expect && (expect.nil !== true || result !== null)) fail('result', null, result)
    if ('bool' in expect && result !== expect.bool) fail('result', expect.bool, result)
    if ('value' in expect && !sameValue(expect.value, result)) fail('value', expect.value, result)
    if ('count' in expect) {
      const count = Array.isArray(result) ? result.filter((item) => item !== null).length : result
      if (count !== expect.count) fail('count', expect.count, result)
    }
    if ('cursor' in expect && (result.cursor !== null) !== expect.cursor) {
      fail('cursor', expect.cursor, result.cursor)
    }
    if ('keys' in expect) matchAny(expect.keys, result, sameKey)
    if ('entries' in expect) {
      const holds = this.holds((expected, entry) => {
        if (expected === null || entry === null) return expected === entry
        return this.judgeEntry(expected, entry)
      })
      if (step.op === 'entries') matchAny(expect.entries, result, holds)
      else matchAll(expect.entries, result, holds)
    }
    for (const form of ['stats', 'options']) {
      for (const [field, value] of Object.entries(expect[form] ?? {})) {
        if (!(camel(field) in result)) throw new Mismatch(`unknown field of ${form}: ${field}`)
        if (result[camel(field)] !== value) fail(`${form}.${field}`, value, result[camel(field)])
      }
    }
    if ('members' in expect) matchAll(expect.members, result, sameMember)
    if ('endpoints' in expect) matchAll(expect.endpoints, result, (text, got) => text === got)
    if ('events' in expect) {
      const match = expect.unordered ? matchAny : matchAll
      match(expect.events, result, this.holds((expected, event) => this.judgeEvent(expected, event)))
    }
  }

  judgeEvent(expected, event) {
    onlyFields(expected, ['type', 'key', 'entry', 'count'], 'event')
    if ('type' in expected && event.type !== expected.type) fail('type', expected.type, event)
    if ('count' in expected && event.count !== expected.count) fail('count', expected.count, event)
    if ('key' in expected && !sameKey(expected.key, event.key)) fail('key', expected.key, event)
    if ('entry' in expected) this.judgeEntry(expected.entry, event.entry)
  }

  /** A judgement as a question. */
  holds(judge) {
    return (expected, got) => {
      try {
        return judge(expected, got) !== false
      } catch (error) {
        if (error instanceof Mismatch && !error.message.startsWith('unknown')) return false
        throw error
      }
    }
  }
}

function fieldOf(step, result, field) {
  if (step.op === 'digest' && field === 'digest') return result
  const own = { version: 'version', time: 'timeNs', exp: 'expNs', fence: 'fence' }[field]
  if (own === undefined) throw new Mismatch(`unknown field to save: ${field}`)
  return result[own]
}

function sameHolder(expected, holder) {
  if (expected === null || holder === null) return expected === holder
  return holder.node === expected.node && holder.owner === toKey(expected.owner)
}

const MEMBER = ['node', 'state', 'lag', 'digest', 'is_self', 'namesake']

function sameMember(expected, member) {
  onlyFields(expected, MEMBER, 'member')
  return Object.entries(expected).every(([field, value]) => member[camel(field)] === value)
}

/** Starts another registry in each of the two ways. A name that is no option's goes there as it stands. */
async function startAndStop(written) {
  const options = {}
  for (const [field, value] of Object.entries(written)) options[camel(field.replace(/_ms$/, ''))] = toValue(value)
  await new minikv.Registry(options).stop()
  await (await minikv.Registry.start(options)).stop()
}

function matchAll(expected, got, same) {
  const equal = expected.length === got.length && expected.every((item, at) => same(item, got[at]))
  if (!equal) fail('items in order', expected, got)
}

function matchAny(expected, got, same) {
  const rest = [...got]
  for (const item of expected) {
    const at = rest.findIndex((other) => same(item, other))
    if (at < 0) fail('items in any order', expected, got)
    rest.splice(at, 1)
  }
  if (rest.length > 0) fail('items in any order', expected, got)
}

function functionOf(fn, ofUpdate) {
  if (fn === 'throw') {
    return () => {
      throw THROWN
    }
  }
  if (fn !== null && typeof fn === 'object' && Object.keys(fn).join() === 'return') {
    return () => toValue(fn.return)
  }
  if (ofUpdate && fn === 'keep') return () => minikv.KEEP
  if (ofUpdate && fn === 'delete') return () => minikv.DELETE
  if (ofUpdate && fn === 'incr') return (value = 0) => value + 1
  throw new Mismatch(`unknown fn: ${JSON.stringify(fn)}`)
}

export async function runCase(vector) {
  onlyFields(vector, ['name', 'registry', 'steps'], 'case')
  const run = new Case(vector.registry ?? {})
  try {
    for (const [at, step] of vector.steps.entries()) {
      try {
        await run.step(step, at)
      } catch (error) {
        error.step = at
        throw error
      }
    }
    if (run.jobs.size > 0) throw new Mismatch(`not joined: ${[...run.jobs.keys()]}`)
  } finally {
    await run.kv.stop()
  }
}
