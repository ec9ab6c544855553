'use strict'

// Members in processes of their own: killed, raced for locks, and how they end.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')
const { folder, refuses, run, start } = require('./helpers')
const { LONG, Process, clusterName, member, options, until } = require('./members')

const stateOf = (kv, node) => kv.members().find((one) => one.node === node)?.state

test('two processes are one registry', async (t) => {
  const cluster = clusterName()
  const a = await member(t, cluster, 'a')
  const b = await Process.member(t, cluster, 'b', a.endpoints())
  a.put('k', { n: 1 })
  await until('b has it', () => b.run(`return kv.contains('k')`))
  const entry = await b.run(`return kv.get('k').toJSON()`)
  assert.deepStrictEqual(entry, a.get('k').toJSON())
  await b.run(`kv.update('k', (value) => ({ ...value, m: 2 }))`)
  await until('a has it', () => a.value('k').m === 2)
  assert.deepStrictEqual([a.value('k'), a.get('k').node], [{ n: 1, m: 2 }, 'b'])
  assert.equal(await b.run('return kv.digest()'), a.digest())
  await until('a knows that b is synced', () => stateOf(a, 'b') === 'live')
  const known = (members) => members.map(({ node, incarnation, state }) => [node, incarnation, state])
  assert.deepStrictEqual(known(await b.run('return kv.members()')), known(a.members()))
})

test('what a killed member held is free, and its entries pass', async (t) => {
  const cluster = clusterName()
  const a = await member(t, cluster, 'b')
  // The lower name: it has been the one that is asked for locks.
  const killed = await Process.member(t, cluster, 'a', a.endpoints())
  await until('both are there', () => a.stats().members === 2)
  await killed.run(`kv.put('k', 1); await kv.lock('k', { owner: 'o', wait: 60_000 })`)
  await until('the lock is seen', () => a.get('k')?.lock)
  await refuses('locked', () => a.lock('k'))
  const watch = a.watch().ref()
  const waiting = a.lock('k', { wait: LONG })
  await killed.kill()
  const mine = await waiting
  assert.deepStrictEqual([mine.holder.node, mine.value], ['b', 1])
  const seen = []
  for await (const { type, node, state, owner } of watch) {
    if (type === 'member' || type === 'owner') seen.push([type, node, state ?? owner])
    if (type === 'owner') break
  }
  assert.deepStrictEqual(seen, [['member', 'a', 'down'], ['owner', 'a', 'b']]) // prettier-ignore
  assert.deepStrictEqual([stateOf(a, 'a'), a.get('k').node, a.stats().members], ['down', 'b', 1])
})

test('a killed member starts again under its name', async (t) => {
  const cluster = clusterName()
  const a = await member(t, cluster, 'a')
  const killed = await Process.member(t, cluster, 'b', a.endpoints())
  await killed.run(`kv.put('k', 'of b')`)
  await until('a has it', () => a.contains('k'))
  await killed.kill()
  const again = await Process.member(t, cluster, 'b', a.endpoints())
  assert.deepStrictEqual(await again.run(`return [kv.value('k'), kv.get('k').node]`), ['of b', 'b'])
  await until('a sees it', () => a.members().some(({ node, state }) => node === 'b' && state === 'live'))
  await again.run(`kv.put('l', 1)`)
  await until('a has it', () => a.contains('l'))
})

/** Takes each of the keys in turn as often as given, and says when it had which. */
const RACE = (me, keys, times) => `
  const taken = []
  const one = async (key) => {
    for (let n = 0; n < ${times}; n++) {
      await kv.locked(key, { create: true, wait: Infinity }, async (held) => {
        const from = process.hrtime.bigint()
        held.put('${me}')
        if (n % 3 === 0) await new Promise(setImmediate)
        held.check()
        taken.push([key, String(held.fence), String(from), String(process.hrtime.bigint())])
      })
    }
  }
  await Promise.all(${JSON.stringify(keys)}.flatMap((key) => [one(key), one(key)]))
  return taken`

test('two processes race for locks, and no lock is ever held twice', async (t) => {
  const cluster = clusterName()
  const first = await Process.member(t, cluster, 'a')
  const second = await Process.member(t, cluster, 'b', await first.endpoints())
  await until('both are there', async () => (await first.run('return kv.stats().members')) === 2)
  const [keys, times] = [['x', 'y', 'z'], 150] // prettier-ignore
  const results = await Promise.all([first.run(RACE('a', keys, times)), second.run(RACE('b', keys, times))])
  let granted = 0
  for (const key of keys) {
    const taken = results
      .flat()
      .filter(([of]) => of === key)
      .map(([, fence, from, to]) => ({ fence: BigInt(fence), from: BigInt(from), to: BigInt(to) }))
      .sort((one, other) => (one.from < other.from ? -1 : 1))
    granted += taken.length
    for (const [at, next] of taken.entries()) {
      if (at === 0) continue
      // The clock is the machine's, the same for both processes.
      assert.ok(taken[at - 1].to <= next.from, `${key} was held twice`)
      assert.ok(taken[at - 1].fence < next.fence, `the fence of ${key} fell`)
    }
  }
  assert.equal(granted, 2 * 2 * keys.length * times)
  for (const result of results) assert.ok(result.length === 2 * keys.length * times)
})

test('a frozen member loses its lock, and is told', async (t) => {
  const cluster = clusterName()
  const a = await member(t, cluster, 'a', [], { failureTimeout: 500 })
  const frozen = await Process.member(t, cluster, 'b', a.endpoints(), { failureTimeout: 500 })
  await until('both are there', () => a.stats().members === 2)
  a.put('k', 1)
  await until('b has it', () => frozen.run(`return kv.contains('k')`))
  await frozen.run(`globalThis.held = await kv.locked('k', { wait: 60_000 })`)
  frozen.kill('SIGSTOP')
  assert.equal((await a.lock('k', { wait: LONG, put: 2 })).holder.node, 'a')
  frozen.kill('SIGCONT')
  const reason = await frozen.run(`
    const { signal } = held
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve))
    return [signal.reason.code, held.lost]`)
  assert.deepStrictEqual(reason, ['lock_lost', true])
  await assert.rejects(frozen.run('held.put(3)'), { code: 'lock_lost' })
  await until('it is back', () => stateOf(a, 'b') === 'live')
  assert.equal(a.value('k'), 2)
})

test('with a frozen member beside it a stop does not hold up the event loop', async (t) => {
  const cluster = clusterName()
  const a = await member(t, cluster, 'a', [], { failureTimeout: 10_000 })
  const frozen = await Process.member(t, cluster, 'b', a.endpoints(), { failureTimeout: 10_000 })
  await until('both are there', () => a.stats().members === 2)
  frozen.kill('SIGSTOP')
  const big = 'x'.repeat(1 << 20)
  for (let n = 0; n < 8; n++) a.put(`k${n}`, big)
  let [turns, over] = [0, false]
  const turning = setInterval(() => turns++, 1)
  t.after(() => clearInterval(turning))
  const stopping = a.stop().then(() => (over = true))
  assert.equal(over, false)
  // Were the loop held up, no timer would come before the stop is over.
  await until('it has stopped', () => over || turns >= 5)
  assert.ok(turns >= 5 || over)
  await stopping
  await refuses('stopped', () => a.get('k1'))
  frozen.kill('SIGCONT')
})

const HEAD = (cluster, peers, more = {}) => `
  const { Registry } = require('minikv')
  const { Worker } = require('node:worker_threads')
  const options = ${JSON.stringify(options(cluster, 'child', peers, more))}
  const kv = new Registry('proc', options)
  kv.put('k', 1, { ttl: 3600000 });
`

/** Programs that never stop their member, and how they must end. */
const programs = {
  'an unstopped member': [`console.log('end')`, { stdout: 'end\n' }],
  'a synced one': [`kv.waitSynced(60_000).then(() => console.log(kv.stats().members))`, { stdout: '2\n' }],
  'one that still starts': [
    `Registry.start({ ...options, node: 'other' }).then((other) => console.log(other.options().node))`,
    { stdout: 'other\n' },
  ],
  'one that stops': [`kv.stop().then(() => console.log('stopped'))`, { stdout: 'stopped\n' }],
  'one that is disposed of': [`kv.waitSynced().then(() => { kv[Symbol.dispose](); console.log('end') })`, { stdout: 'end\n' }],
  'a lock that is waited for': [
    `kv.lock('k', { owner: 'a', wait: 60_000, lease: 50 }).then(() => kv.lock('k', { owner: 'b', wait: 60_000 })).then((e) => console.log(e.holder.owner))`,
    { stdout: 'b\n' },
  ],
  'a held lock, a watch, a guard': [
    `kv.waitSynced().then(() => Promise.all([kv.lock('k', { wait: 60_000 }), kv.locked('l', { create: true, wait: 60_000 })]))
       .then(() => { kv.watch().next(); console.log('end') })`,
    { stdout: 'end\n' },
  ],
  'process.exit at once': [`process.exit(3)`, { code: 3 }],
  'process.exit when synced': [`kv.waitSynced().then(() => process.exit(4))`, { code: 4 }],
  'process.exit with everything under way': [
    `kv.waitSynced().then(() => {
       kv.watch().ref().next(); kv.lock('k', { wait: Infinity }); kv.lock('k', { owner: 'b', wait: Infinity })
       Registry.start({ ...options, node: 'other' }); kv.waitSynced(); new Registry({ ...options, node: 'third' })
       setTimeout(() => process.exit(5), 5)
     })`,
    { code: 5 },
  ],
  'process.exit while it stops': [`kv.waitSynced().then(() => { kv.stop(); process.exit(6) })`, { code: 6 }],
  'an uncaught error': [`kv.waitSynced().then(() => { throw new Error('mine') })`, { code: 1 }],
  'four workers with members of their own': [
    `if (kv) for (let n = 0; n < 4; n++) new Worker(\`
       const { Registry } = require('minikv'); const { workerData } = require('node:worker_threads')
       const kv = new Registry(workerData.n % 2 ? 'w' + workerData.n : null, { ...workerData.options, node: 'w' + workerData.n })
       kv.waitSynced(60_000).then(() => { kv.put('w' + workerData.n, 1); console.log('synced') })
     \`, { eval: true, workerData: { n, options } })`,
    { stdout: 'synced\n'.repeat(4) },
  ],
}

for (const [name, [source, expected]] of Object.entries(programs)) {
  test(`a process with a member ends as it should: ${name}`, async (t) => {
    const cluster = clusterName()
    const a = await member(t, cluster, 'a')
    const { code, signal, stdout, stderr } = await run(HEAD(cluster, a.endpoints()) + source)
    assert.deepStrictEqual([code, signal, stderr.includes('panicked')], [expected.code ?? 0, null, false], stderr)
    if (expected.stdout !== undefined) assert.equal(stdout, expected.stdout, stderr)
    await until('it is gone', () => a.stats().members === 1)
  })
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  test(`${signal} ends a process with a member`, async (t) => {
    const cluster = clusterName()
    const a = await member(t, cluster, 'a')
    const source = `kv.waitSynced().then(() => { console.log('waiting'); setInterval(() => {}, 1000) })`
    const ended = await run(HEAD(cluster, a.endpoints()) + source, { signalWhen: 'waiting', signalWith: signal })
    assert.deepStrictEqual([ended.code, ended.signal], [null, signal], ended.stderr)
    await until('it is gone', () => a.stats().members === 1)
    const handled = await run(
      `${HEAD(cluster, a.endpoints())};
       process.once('${signal}', () => kv.stop().then(() => console.log('stopped')))
       kv.waitSynced().then(() => { console.log('waiting'); kv.watch().ref().next() })`,
      { signalWhen: 'waiting', signalWith: signal },
    )
    assert.deepStrictEqual([handled.code, handled.stdout], [0, 'waiting\nstopped\n'], handled.stderr)
    await until('it has left', () => a.members().some((one) => one.node === 'child' && one.state === 'left'))
  })
}

test('a process that cannot join ends all the same', async (t) => {
  const dir = fs.mkdtempSync(path.join(folder, 'dist', 'join-'))
  t.after(() => fs.rmSync(dir, { recursive: true }))
  const ends = await run(`${HEAD(clusterName(), ['127.0.0.1:9', `unix:${dir}/nobody`], { failureTimeout: 60_000 })}
    kv.waitSynced(20).catch((error) => console.log(error.code))`)
  assert.deepStrictEqual([ends.code, ends.stdout], [0, 'timeout\n'], ends.stderr)
  const none = start(t)
  assert.equal(none.ready(), true)
})
