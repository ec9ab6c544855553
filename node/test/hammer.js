'use strict'

// One worker of workers.test.js: mixed operations on shared keys until the time is over, then what it has done.

const { parentPort, workerData } = require('node:worker_threads')
const { setImmediate: turn } = require('node:timers/promises')
const { Registry, DELETE } = require('minikv')

const { me, seconds, name } = workerData
const kv = Registry.open(name)
const done = { incr: 0, update: 0, held: 0, locked: 0, put: 0, computed: 0, refused: 0, seen: 0, aborted: 0, order: 0 }

/** What happens once in a while in a registry that others use. */
const expected = new Set(['locked', 'conflict', 'not_found', 'lock_lost'])

async function attempt(call) {
  try {
    await call()
    return true
  } catch (error) {
    if (!expected.has(error.code)) throw error
    done.refused++
    return false
  }
}

async function watch(stop) {
  const watch = kv.watch({ key: `own:${me}`, capacity: 1 << 20, signal: stop })
  let last = -1
  try {
    for await (const event of watch) {
      if (event.type === 'lagged') throw new Error('the queue has room for all')
      if (event.type !== 'put') continue
      if (event.entry.value !== last + 1) done.order++
      last = event.entry.value
      done.seen++
    }
  } catch (error) {
    if (error !== stop.reason) throw error
  }
}

async function main() {
  const abort = new AbortController()
  const watching = watch(abort.signal)
  const end = Date.now() + seconds * 1000
  for (let round = 0; Date.now() < end; round++) {
    kv.incr('incr')
    done.incr++
    kv.update('update', (value = { n: 0 }) => ({ n: value.n + 1, by: me }))
    done.update++
    kv.put(`own:${me}`, done.put)
    done.put++
    const waited = await attempt(() =>
      kv.locked('held', { wait: 60_000, lease: 30_000 }, async (held) => {
        const { n } = held.get().value
        if (round % 3 === 0) await turn()
        held.put({ n: n + 1 })
      }),
    )
    if (waited) done.held++
    const owner = `w${me}`
    if (await attempt(() => kv.lock('locked', { owner, wait: 10 }))) {
      kv.put('locked', kv.value('locked') + 1, { owner })
      done.locked++
      kv.unlock('locked', { owner })
    }
    const impatient = new AbortController()
    const wait = kv.lock('busy', { owner, wait: Infinity, signal: impatient.signal }).then(
      () => kv.unlock('busy', { owner }),
      (error) => {
        if (error !== impatient.signal.reason) throw error
        done.aborted++
      },
    )
    if (round % 2 === 0) await turn()
    impatient.abort(new Error('enough'))
    await wait
    await kv.getOrPut(`lazy:${round}`, async () => {
      done.computed++
      await turn()
      return round
    }, { ttl: 60_000 }) // prettier-ignore
    const shared = `shared:${round % 16}`
    await attempt(() => kv.put(shared, { big: 'x'.repeat(round % 1000), list: [round, me] }, { ttl: 1 + (round % 5) }))
    await attempt(() => kv.getMany([shared, 'incr']).map((entry) => entry?.value))
    if (round % 7 === 0) await attempt(() => kv.update(shared, () => DELETE))
    if (round % 50 === 0) kv.entries({ prefix: 'shared:', limit: 5 }).forEach((entry) => entry.toJSON())
  }
  // The last event is on its way.
  while (done.seen < done.put) await turn()
  abort.abort(new Error('end'))
  await watching
  parentPort.postMessage(done)
}

main()
