'use strict'

const assert = require('node:assert/strict')
const { once } = require('node:events')
const fs = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')
const { Worker } = require('node:worker_threads')
const { Registry } = require('minikv')
const { folder, start, refuses } = require('./helpers')
const { LONG, clusterName, member, options, until } = require('./members')

const tls = (who = '') =>
  Object.fromEntries(['ca', 'cert', 'key'].map((file) => [file, path.join(__dirname, 'tls', `${who}${file}.pem`)]))

const states = (kv) => Object.fromEntries(kv.members().map(({ node, state }) => [node, state]))

/** Two members that have seen each other. */
async function pair(t, more) {
  const cluster = clusterName()
  const a = await member(t, cluster, 'a', [], more)
  const b = await member(t, cluster, 'b', a.endpoints(), more)
  await until('both see both', () => [a, b].every((kv) => kv.stats().members === 2 && kv.ready()))
  return [a, b, cluster]
}

test('a registry by itself is its own only member', async (t) => {
  const kv = start(t, { node: 'n' })
  assert.equal(kv.ready(), true)
  for (const timeout of [undefined, null, 0, 1.5, '1s', Infinity]) assert.equal(await kv.waitSynced(timeout), undefined)
  const [self, ...others] = kv.members()
  assert.deepStrictEqual(others, [])
  assert.match(self.incarnation, /^[0-9a-f]{32}$/)
  assert.deepStrictEqual(self, {
    node: 'n',
    incarnation: self.incarnation,
    state: 'live',
    lag: 0,
    digest: null,
    isSelf: true,
    namesake: false,
  })
  assert.ok(Object.isFrozen(self))
  assert.deepStrictEqual(kv.endpoints(), [])
  const { members, replicatedOut, replicatedIn, syncTotal, clockOffsetMs } = kv.stats()
  assert.deepStrictEqual([members, replicatedOut, replicatedIn, syncTotal, clockOffsetMs], [1, 0, 0, 0, 0])
  for (const wrong of [-1, NaN, -Infinity, 'soon', {}, true, 5n]) await refuses('invalid_argument', () => kv.waitSynced(wrong))
  for (const wrong of [5, [], new Map([['a', 1]])]) await refuses('invalid_argument', () => kv.waitSynced(1, wrong))
  await refuses('invalid_argument', () => kv.waitSynced(1, { signl: null }), /did you mean 'signal'/)
  await refuses('invalid_argument', () => kv.waitSynced(1, { signal: 5 }), /signal/)
  const reason = new Error('mine')
  await assert.rejects(kv.waitSynced(1, { signal: AbortSignal.abort(reason) }), (error) => error === reason)
  await kv.stop()
  for (const call of ['ready', 'waitSynced', 'members', 'endpoints']) await refuses('stopped', () => kv[call]())
})

test('garbage on the port is counted and disturbs nobody', async (t) => {
  const cluster = clusterName()
  const a = await member(t, cluster, 'a')
  const before = a.stats().refused
  const [host, port] = a.endpoints()[0].split(':')
  const web = net.connect(Number(port), host)
  t.after(() => web.destroy())
  web.on('error', () => {})
  web.write('GET / HTTP/1.1\r\n\r\n')
  await until('it is counted', () => a.stats().refused > before)
  const b = await member(t, cluster, 'b', a.endpoints())
  await until('both see both', () => [a, b].every((kv) => kv.stats().members === 2))
})

test('wrong options of a member are named as they are written here', async () => {
  const cluster = 'c'
  const paths = { ca: 'ca.pem', cert: 'cert.pem', key: 'key.pem' }
  for (const [wrong, message] of [
    [{ clustr: 'c' }, /did you mean 'cluster'/],
    [{ cluster, failure_timeout: 5 }, /did you mean 'failureTimeout'/],
    [{ cluster, peer: [] }, /did you mean 'peers'/],
    [{ failureTimeout: 1000 }, /failureTimeout is given without cluster/],
    [{ listen: '127.0.0.1:0' }, /listen is given without cluster/],
    [{ tls: {} }, /tls is given without cluster/],
    [{ cluster: 5 }, /cluster is text/],
    [{ cluster: '' }, /cluster has 0 bytes/],
    [{ cluster: {} }, /cluster is text, not map/],
    [{ cluster, failureTimeout: 99 }, /failureTimeout is 99ms/],
    [{ cluster, failureTimeout: -1 }, /failureTimeout/],
    [{ cluster, failureTimeout: [1000] }, /failureTimeout is a number of milliseconds/],
    [{ cluster, clock: 'manual' }, /clock/],
    [{ cluster, discovery: true }, /discovery is text, not bool/],
    [{ cluster, discovery: 'dns' }, /discovery is "dns"/],
    [{ cluster, listen: 7447 }, /listen is a list of texts/],
    [{ cluster, listen: '7447' }, /listen has "7447": it has no port/],
    [{ cluster, listen: ['127.0.0.1:0', '\ud800'] }, /listen holds a lone surrogate/],
    [{ cluster, peers: ['127.0.0.1:0'] }, /port 0/],
    [{ cluster, peers: ['127.0.0.1:1', 2] }, /one of them is int/],
    [{ cluster, peers: [undefined] }, /one of them is nil/],
    [{ cluster, peers: [1.5] }, /one of them is float/],
    [{ cluster, peers: [['127.0.0.1:1']] }, /peers/],
    [{ cluster, peers: { 0: '127.0.0.1:1' } }, /peers is a list of texts/],
    [{ cluster, peers: new Set(['127.0.0.1:1']) }, /peers/],
    [{ cluster, peers: [2n ** 70n] }, /peers/],
    [{ cluster, tls: 'ca.pem' }, /tls is "ca.pem"; it is a map/],
    [{ cluster, tls: [] }, /tls is a list/],
    [{ cluster, tls: { ...paths, key: undefined } }, /tls lacks key/],
    [{ cluster, tls: new Map([['ca', 'ca.pem']]) }, /tls lacks cert/],
    [{ cluster, tls: new Map([[5, 'ca.pem']]) }, /a name within tls is a string/],
    [{ cluster, tls: { ...paths, cer: 'x' } }, /did you mean 'cert'/],
    [{ cluster, tls: { ...paths, cert: 5 } }, /tls.cert is text, not int/],
    [{ cluster, tls: { ...paths, cert: {} } }, /tls.cert/],
    [{ cluster, tls: new URL('file:///ca.pem') }, /tls/],
    [{ cluster, tls: Buffer.from('x') }, /tls/],
  ]) {
    await refuses('invalid_argument', () => new Registry(wrong), message)
    await refuses('invalid_argument', () => Registry.start(wrong), message)
  }
  const own = new Error('mine')
  const throwing = {
    get ca() {
      throw own
    },
  }
  assert.throws(() => new Registry({ cluster, tls: throwing }), (error) => error === own)
  for (const begin of [async (given) => new Registry(given), (given) => Registry.start(given)]) {
    await refuses('io', () => begin({ cluster, tls: { ...tls(), ca: '/nowhere/ca.pem' } }), /tls\.ca.*nowhere/)
    await refuses('invalid_argument', () => begin({ cluster, tls: { ...tls(), key: tls('other-').key } }), /tls\.key/)
    await refuses('io', () => begin({ cluster, listen: `unix:${folder}/nowhere/socket` }), /cannot listen/)
  }
})

test('start is the constructor with a wait', async (t) => {
  const kv = await Registry.start('started', { defaultTtl: 1000, ints: 'bigint' })
  t.after(() => kv.stop())
  assert.ok(kv instanceof Registry)
  assert.equal(kv.put('k', 1).value, 1n)
  await refuses('already_started', () => Registry.start('started'))
  await refuses('already_started', () => Registry.start('started', { existOk: true }), /defaultTtl/)
  const same = await Registry.start({ name: 'started', defaultTtl: '1s', existOk: true })
  assert.equal(same.value('k'), 1)
  await same[Symbol.asyncDispose]()
  assert.equal(kv.value('k', null), 1n, 'only the starter stops it')
  await refuses('invalid_argument', () => Registry.start('a', { name: 'b' }), /twice/)
  await refuses('invalid_argument', () => Registry.start('a', 5))
  const many = await Promise.all(Array.from({ length: 20 }, (_, n) => Registry.start({ node: `n${n}` })))
  assert.deepStrictEqual(many.map((one) => one.members()[0].node), many.map((_, n) => `n${n}`))
  await Promise.all(many.map((one) => one.stop()))
})

test('what one member does the other sees', async (t) => {
  const [a, b, cluster] = await pair(t)
  assert.match(a.endpoints()[0], /^127\.0\.0\.1:[1-9]\d*$/)
  assert.deepStrictEqual(
    { ...b.options(), maxValueBytes: 0 },
    {
      ...start(t).options(),
      node: 'b',
      maxValueBytes: 0,
      cluster,
      peers: a.endpoints(),
      failureTimeout: '1s',
    },
  )
  const values = { int: 1, big: 2n ** 60n, text: 'ü', bytes: Buffer.from([0, 255]), list: [null, true, 1.5], map: { a: [1] } }
  for (const [key, value] of Object.entries(values)) a.put(key, value)
  a.put(Buffer.from([255, 1]), 'binary')
  a.put('short', 1, { ttl: 60_000 })
  await until('all of it came', () => b.count() === 8)
  for (const [key, value] of Object.entries(values)) assert.deepStrictEqual(b.value(key), value)
  for (const key of [...Object.keys(values), Buffer.from([255, 1]), 'short']) {
    const [mine, its] = [a, b].map((kv) => kv.get(key).toJSON())
    assert.deepStrictEqual(its, mine)
    assert.equal(its.node, 'a')
  }
  b.delete('int')
  b.update('list', (list) => [...list, 2])
  await until('the changes came back', () => !a.contains('int') && a.value('list').length === 4)
  assert.equal(a.get('list').node, 'b')
  await until('the digests agree', () => a.digest() === b.digest())
  const digests = () => a.members().concat(b.members()).map(({ digest }) => digest)
  await until('they know each other’s', () => new Set(digests()).size === 1)
  assert.match(digests()[0], /^[0-9a-f]{16}$/)
  for (const kv of [a, b]) {
    const members = kv.members()
    assert.deepStrictEqual(
      members.map(({ node, state, isSelf, namesake }) => [node, state, isSelf, namesake]),
      ['a', 'b'].map((node) => [node, 'live', node === kv.options().node, false]),
    )
    assert.ok(members.every((member) => Object.isFrozen(member) && member.lag === 0))
    assert.equal(kv.stats().members, 2)
  }
  assert.ok(a.stats().replicatedOut >= 8 && b.stats().replicatedIn >= 8)
})

test('a member that joins has what was there, and tells so', async (t) => {
  const cluster = clusterName()
  const a = await member(t, cluster, 'a')
  a.putMany(Array.from({ length: 5000 }, (_, n) => [`k${n}`, n]))
  const kv = start(t, options(cluster, 'b', a.endpoints()))
  await kv.waitSynced(LONG, { signal: new AbortController().signal })
  assert.deepStrictEqual([kv.ready(), kv.count()], [true, 5000])
  assert.equal(await kv.waitSynced(0), undefined)
  assert.ok(kv.stats().syncEntries >= 5000)
})

test('a member that cannot sync says how far it is', async (t) => {
  // Nobody listens there; so long as somebody may, this one does not declare itself synced.
  const kv = start(t, options(clusterName(), 'a', ['127.0.0.1:9'], { failureTimeout: 60_000 }))
  assert.equal(kv.ready(), false)
  assert.equal(kv.members()[0].state, 'joining')
  await refuses('timeout', () => kv.waitSynced(0), /0 of 0 entries/)
  await refuses('timeout', () => kv.waitSynced(20), /0 of 0 entries/)
  await refuses('timeout', () => kv.waitSynced('20ms'))
  const reason = new Error('mine')
  const abort = new AbortController()
  const aborted = kv.waitSynced(undefined, { signal: abort.signal })
  const stopped = [kv.waitSynced(), kv.waitSynced(LONG), kv.waitSynced(2 ** 40)].map((wait) => refuses('stopped', () => wait))
  abort.abort(reason)
  await assert.rejects(aborted, (error) => error === reason)
  await kv.stop()
  await Promise.all(stopped)
})

test('a lock is one member’s at a time', async (t) => {
  const [a, b] = await pair(t)
  a.put('k', 1)
  await until('b has it', () => b.contains('k'))
  const held = await b.lock('k')
  assert.deepStrictEqual([held.lock, held.holder], [true, { node: 'b', owner: null }])
  await refuses('locked', () => a.lock('k'))
  await refuses('locked', () => a.lock('k', { put: 5 }))
  await refuses('locked', () => a.locked('k', () => assert.fail()))
  await refuses('locked', () => a.lock('k', { wait: 20 }))
  await until('a sees it', () => a.get('k').lock)
  await refuses('locked', () => a.put('k', 2))
  const waiting = a.lock('k', { wait: LONG })
  const reason = new Error('mine')
  const abort = new AbortController()
  const given = a.lock('k', { owner: 'other', wait: Infinity, signal: abort.signal })
  b.unlock('k')
  const mine = await waiting
  assert.deepStrictEqual([mine.lock, mine.holder.node, mine.fence > held.fence], [true, 'a', true])
  abort.abort(reason)
  await assert.rejects(given, (error) => error === reason)
  a.unlock('k')
  // The one that was given up stands in nobody's way.
  assert.equal((await b.lock('k', { owner: 'next', wait: LONG, put: 7 })).value, 7)
  assert.equal(await a.lock('nothing'), null)
  await refuses('not_found', () => a.locked('nothing'))
})

test('a guard holds on every member, and its release hands it on', async (t) => {
  const [a, b] = await pair(t)
  const order = []
  const first = await a.locked('k', { create: true, wait: LONG, lease: 60_000 })
  const second = b.locked('k', { create: true, wait: LONG }, (held) => {
    order.push('b')
    assert.ok(held.fence > first.fence)
    held.put('of b')
    assert.equal(held.lost, false)
  })
  first.put('of a')
  await until('b has it', () => b.value('k') === 'of a')
  assert.throws(() => b.put('k', 1), { code: 'locked' })
  order.push('a')
  first.release()
  await second
  assert.deepStrictEqual(order, ['a', 'b'])
  await until('a has it', () => a.value('k') === 'of b' && !a.get('k').lock)
})

test('stop takes leave without holding up the event loop, and ends what waits', async (t) => {
  const [a, b] = await pair(t)
  a.put('of-a', 1)
  b.put('of-b', 1)
  await until('both have both', () => a.contains('of-b') && b.contains('of-a'))
  await a.lock('of-a')
  const waiting = ['lock', 'locked'].map((call) => refuses('stopped', () => b[call]('of-a', { wait: Infinity })))
  const watch = a.watch({ key: 'nothing' }).ref()
  const reading = (async () => {
    const seen = []
    for await (const event of watch) {
      assert.ok(Object.isFrozen(event))
      const { type, key, entry, count, node, state, owner } = event
      assert.deepStrictEqual([key, entry, count], [null, null, 1])
      seen.push(`${type} ${node} ${state ?? owner}`)
      if (seen.includes('owner b a') && seen.includes('member b left')) return seen
    }
    return seen
  })()
  let over = false
  const stopped = b.stop().then(() => (over = true))
  assert.equal(over, false)
  await Promise.all([stopped, b.stop(), ...waiting])
  await refuses('stopped', () => b.get('of-b'))
  // That its link has ended may be seen before its word of leave is heard.
  const seen = (await reading).filter((event) => event !== 'member b down')
  assert.deepStrictEqual(seen.sort(), ['member b left', 'owner b a'])
  assert.equal(a.get('of-b').node, 'a')
  assert.deepStrictEqual(states(a), { a: 'live', b: 'left' })
  assert.equal(a.stats().members, 1)
})

test('a stop that has nothing left to do ends as well', async (t) => {
  const name = `twice-${clusterName()}`
  const first = start(t, options(name, 'a', [], { name }))
  const handles = Array.from({ length: 200 }, () => Registry.open(name))
  await Promise.all([first, ...handles].map((kv) => kv.stop()))
  for (const kv of handles) await kv.stop()
  await refuses('stopped', () => handles[0].get('k'))
})

test('every watch is told of a member that comes and goes', async (t) => {
  const cluster = clusterName()
  const a = await member(t, cluster, 'a')
  const watches = [a.watch(), a.watch('prefix'), a.watch({ key: 'k' })]
  const b = await member(t, cluster, 'b', a.endpoints())
  await until('b is live', () => states(a).b === 'live')
  await b.stop()
  await until('b has left', () => states(a).b === 'left')
  for (const watch of watches) {
    const seen = []
    for (let event; (event = watch.tryNext()) !== null; ) if (event.type === 'member') seen.push([event.node, event.state])
    assert.deepStrictEqual([seen[0][0], seen.at(-1)], ['b', ['b', 'left']])
    assert.ok(seen.some(([, state]) => state === 'live'))
  }
  const put = a.watch('k')
  a.put('k', 1)
  const { node, state, owner } = put.tryNext()
  assert.deepStrictEqual([node, state, owner], [null, null, null])
})

test('a member comes back under its name with what it had', async (t) => {
  const [a, b, cluster] = await pair(t)
  b.put('k', 'of b')
  await until('a has it', () => a.contains('k'))
  const [before] = b.members().filter((one) => one.isSelf)
  await b.stop()
  assert.equal(a.get('k').node, 'a')
  const again = await member(t, cluster, 'b', a.endpoints())
  assert.equal(again.value('k'), 'of b')
  const [after] = again.members().filter((one) => one.isSelf)
  assert.notEqual(after.incarnation, before.incarnation)
  await until('it owns it again', () => a.get('k').node === 'b')
})

test('a live member of the same name is an error', async (t) => {
  const cluster = clusterName()
  const a = await member(t, cluster, 'same', [], { failureTimeout: 300 })
  const given = options(cluster, 'same', a.endpoints(), { failureTimeout: 300 })
  await refuses('cluster', () => Registry.start('namesake', given), /"same"/)
  await refuses('not_found', () => Registry.open('namesake'))
  const late = start(t, 'namesake', given)
  await refuses('cluster', () => late.waitSynced(LONG), /"same"/)
  await refuses('cluster', () => late.waitSynced(0), /"same"/)
  await until('it is seen', () => a.members().filter(({ namesake }) => namesake).length === 2)
  await late.stop()
  assert.equal(a.put('k', 1).node, 'same')
})

test('a start takes its time while the event loop goes on', async (t) => {
  const cluster = clusterName()
  const a = await member(t, cluster, 'same', [], { failureTimeout: 300 })
  let turns = 0
  const turning = setInterval(() => turns++, 1)
  t.after(() => clearInterval(turning))
  const given = options(cluster, 'same', a.endpoints(), { failureTimeout: 300 })
  const starting = Registry.start(given)
  await until('the loop has turned', () => turns > 5)
  await a.stop()
  const kv = await starting
  t.after(() => kv.stop())
  assert.equal(kv.members().find((one) => one.isSelf).node, 'same')
})

test('clusters of other names are never met', async (t) => {
  const a = await member(t, clusterName(), 'a')
  const b = start(t, options(clusterName(), 'b', a.endpoints()))
  a.put('k', 1)
  await until('it was refused', () => b.stats().refused > 0 || a.stats().refused > 0)
  assert.deepStrictEqual([b.contains('k'), a.members().length, b.members().length], [false, 1, 1])
})

test('members meet through Unix sockets', async (t) => {
  const cluster = clusterName()
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'minikv-'))
  t.after(() => fs.rmSync(dir, { recursive: true }))
  const [one, two] = ['a', 'b'].map((name) => `unix:${dir}/${name}.sock`)
  const a = await member(t, cluster, 'a', [], { listen: one })
  const b = await member(t, cluster, 'b', [one], { listen: [two, '127.0.0.1:0'] })
  assert.deepStrictEqual(a.endpoints(), [one])
  assert.deepStrictEqual([b.endpoints().length, b.endpoints().includes(two)], [2, true])
  await refuses('io', () => new Registry(options(cluster, 'c', [], { listen: one })), /listens there/)
  b.put('k', 1)
  await until('a has it', () => a.contains('k'))
  await Promise.all([a.stop(), b.stop()])
})

test('members show each other their certificates', async (t) => {
  const cluster = clusterName()
  const a = await member(t, cluster, 'a', [], { tls: tls() })
  const b = await member(t, cluster, 'b', a.endpoints(), { tls: new Map(Object.entries(tls())) })
  a.put('k', 1)
  await until('b has it', () => b.contains('k'))
  assert.deepStrictEqual(b.options().tls, tls())
  const stranger = start(t, options(cluster, 'stranger', a.endpoints(), { tls: tls('other-') }))
  const plain = start(t, options(cluster, 'plain', a.endpoints()))
  await until('they were refused', () => stranger.stats().refused > 0)
  a.put('l', 1)
  await until('b has it', () => b.contains('l'))
  assert.deepStrictEqual([stranger.count(), plain.count()], [0, 0])
  assert.deepStrictEqual(a.members().map(({ node }) => node), ['a', 'b'])
})

test('options of a member come from a file', async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'minikv-'))
  t.after(() => fs.rmSync(dir, { recursive: true }))
  const file = path.join(dir, 'member.toml')
  const cluster = clusterName()
  fs.writeFileSync(file, `cluster = "${cluster}"\nnode = "n"\nlisten = ["127.0.0.1:0"]\nfailure_timeout = "500ms"\n`)
  const kv = Registry.fromConfig(file)
  t.after(() => kv.stop())
  await kv.waitSynced(LONG)
  const stored = JSON.parse(JSON.stringify(kv.options()))
  assert.deepStrictEqual([stored.cluster, stored.listen, stored.failureTimeout], [cluster, ['127.0.0.1:0'], '500ms'])
  await kv.stop()
  const again = start(t, stored)
  assert.deepStrictEqual(again.options(), stored)
  fs.writeFileSync(file, `cluster = "c"\nfailure_timeout = "5ms"\n`)
  await refuses('invalid_argument', () => Registry.fromConfig(file), /failure_timeout is 5ms/)
})

/** Runs `source` in a worker thread; what it sends. */
async function inWorker(source, workerData) {
  const head = `
    const { parentPort, workerData } = require('node:worker_threads')
    const { Registry } = require(${JSON.stringify(folder)})
    const { once } = require('node:events');`
  const worker = new Worker(`${head} (async () => { ${source} })()`, { eval: true, workerData })
  const [message] = await once(worker, 'message')
  return { worker, message }
}

test('worker threads share one member', async (t) => {
  const cluster = clusterName()
  const name = `shared-${cluster}`
  const a = await member(t, cluster, 'a', [], { name })
  const b = await member(t, cluster, 'b', a.endpoints())
  b.put('k', 1)
  await until('a has it', () => a.contains('k'))
  const { worker, message } = await inWorker(
    `const kv = Registry.open(workerData)
     await kv.waitSynced(60_000)
     const entry = await kv.lock('k', { owner: 'worker', wait: 60_000 })
     parentPort.postMessage([kv.members().length, entry.holder.node, kv.ready()])
     kv.lock('k', { owner: 'later', wait: Infinity }).catch(() => {})`,
    name,
  )
  assert.deepStrictEqual(message, [2, 'a', true])
  await refuses('locked', () => b.lock('k'))
  await worker.terminate()
  a.unlock('k', { owner: 'worker' })
  assert.equal((await b.lock('k', { owner: 'b', wait: LONG })).holder.owner, 'b')
})

test('a member that a worker started lasts as long as it should', async (t) => {
  const cluster = clusterName()
  const a = await member(t, cluster, 'a')
  const name = `named-${cluster}`
  const { worker, message } = await inWorker(
    `const more = { cluster: workerData.cluster, peers: workerData.peers, failureTimeout: 1000 }
     const named = await Registry.start(workerData.name, { ...more, node: 'named' })
     const unnamed = globalThis.unnamed = new Registry({ ...more, node: 'unnamed' })
     await Promise.all([named.waitSynced(60_000), unnamed.waitSynced(60_000)])
     unnamed.put('k', 1)
     // Of what is under way nothing must be left behind.
     Registry.start({ ...more, node: 'late' }); unnamed.lock('k', { wait: 60_000 }); unnamed.stop
     parentPort.postMessage('there')`,
    { cluster, name, peers: a.endpoints() },
  )
  assert.equal(message, 'there')
  await until('both are there', () => states(a).named === 'live' && states(a).unnamed === 'live')
  await worker.terminate()
  await until('one has gone', () => states(a).unnamed === 'left')
  const named = Registry.open(name)
  named.put('l', 1)
  await until('the other is a member', () => a.value('l') === 1)
  await until('nothing is left behind', () => states(a).late === undefined || states(a).late === 'left')
  await named.stop()
  await until('it has left', () => states(a).named === 'left')
})

test('a member that nobody has any more leaves, without holding up the event loop', async (t) => {
  const { Session } = require('node:inspector')
  const session = new Session()
  session.connect()
  t.after(() => session.disconnect())
  const collect = () =>
    new Promise((resolve) => session.post('HeapProfiler.collectGarbage', () => setImmediate(resolve)))
  const cluster = clusterName()
  const a = await member(t, cluster, 'a')
  await (async () => {
    const kv = new Registry(options(cluster, 'forgotten', a.endpoints()))
    kv.watch()
    await kv.waitSynced(LONG)
  })()
  // It may be collected, and have left, before anybody looks.
  await until('it came', () => states(a).forgotten !== undefined)
  await until('it has left', async () => (await collect(), states(a).forgotten === 'left'))
})

test('members that come and go leave no threads behind', async (t) => {
  const threads = () => fs.readdirSync('/proc/self/task').length
  const cluster = clusterName()
  const a = await member(t, cluster, 'a')
  const cycle = async (n) => {
    const kv = await Registry.start(options(cluster, `n${n}`, a.endpoints()))
    await kv.waitSynced(LONG)
    await kv.lock('k', { put: n, wait: LONG })
    await kv.stop()
  }
  for (let n = 0; n < 3; n++) await cycle(n)
  const before = threads()
  for (let n = 0; n < 12; n++) await cycle(n % 3)
  await until('the threads have ended', () => threads() <= before)
  assert.ok(a.contains('k'))
})
