'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const { run } = require('./helpers')

const HEAD = `
  const { Registry } = require('minikv')
  const { Worker, isMainThread, workerData } = require('node:worker_threads')
  const kv = new Registry('proc')
  kv.put('k', 1, { ttl: 3600000 });
`

/** Programs that never stop their registry, and how they must end. */
const programs = {
  'an unstopped registry': [`console.log('end')`, { stdout: 'end\n' }],
  'a watch that is read': [
    `(async () => { for await (const e of kv.watch()) console.log(e.type) })(); kv.put('l', 1); setTimeout(() => kv.put('m', 1), 5)`,
    { stdout: 'put\nput\n' },
  ],
  'a held lock and a held guard': [
    `kv.lock('k', { owner: 'a', lease: 60000 }); kv.put('l', 1); kv.locked('l', { lease: 60000 }).then(() => console.log('end'))`,
    { stdout: 'end\n' },
  ],
  'a lock that is waited for': [
    `kv.lock('k', { owner: 'a', lease: 50 }); kv.lock('k', { owner: 'b', wait: 60000 }).then((e) => console.log(e.holder.owner))`,
    { stdout: 'b\n' },
  ],
  'a lock that runs out of time': [
    `kv.lock('k', { owner: 'a' }); kv.lock('k', { owner: 'b', wait: 50 }).catch((e) => console.log(e.code))`,
    { stdout: 'locked\n' },
  ],
  'a watch that shall keep the process alive': [
    `kv.put('l', 1, { ttl: 50 }); const w = kv.watch('l').ref(); w.next().then((e) => { console.log(e.value.type) })`,
    { stdout: 'expire\n' },
  ],
  'a watch that shall no more': [`const w = kv.watch().ref(); w.next(); w.unref(); console.log('end')`, { stdout: 'end\n' }],
  'process.exit with everything open': [
    `kv.watch().ref().next(); kv.lock('k', { owner: 'a' }); kv.lock('k', { owner: 'b', wait: Infinity }); setTimeout(() => process.exit(3), 5)`,
    { code: 3 },
  ],
  'an uncaught error': [`kv.watch().ref().next(); throw new Error('mine')`, { code: 1 }],
  'an uncaught error within an update': [`kv.update('k', () => { throw new Error('mine') })`, { code: 1 }],
  'process.exit within an update': [`kv.update('k', () => process.exit(4))`, { code: 4 }],
  'an uncaught error within a watch': [
    `(async () => { for await (const e of kv.watch()) throw new Error('mine') })(); kv.put('k', 2)`,
    { code: 1 },
  ],
  'process.exit in a worker': [
    `new Worker(\`
      const { Registry } = require('minikv'); const kv = Registry.open('proc')
      kv.watch().ref().next(); kv.lock('k', { owner: 'a' }); kv.lock('k', { owner: 'b', wait: Infinity }); kv.put('w', 1)
      kv.locked('w'); setTimeout(() => process.exit(5), 5)
    \`, { eval: true }).on('exit', (code) => console.log(code, kv.get('w').lock, kv.stats().waiters, kv.stats().watchers))`,
    { stdout: '5 false 0 0\n' },
  ],
  'a worker that ends by itself with a registry of its own': [
    `new Worker(\`
      const { Registry } = require('minikv'); const kv = new Registry('of-worker'); kv.put('k', 1)
      kv.put('short', 1, { ttl: 30 }); const un = new Registry(); un.put('x', 1, { ttl: 1 })
    \`, { eval: true }).on('exit', async (code) => {
      const other = Registry.open('of-worker')
      const w = other.watch({ prefix: 'short', initial: true }).ref()
      for await (const e of w) if (e.type === 'expire' || !other.contains('short')) break
      console.log(code, other.value('k'))
    })`,
    { stdout: '0 1\n' },
  ],
  'a second copy of the addon in one thread': [
    `const before = require('minikv')
     for (const key of Object.keys(require.cache)) delete require.cache[key]
     const again = require('minikv'); const other = again.Registry.open('proc')
     try { other.get('') } catch (e) { console.log(e instanceof again.MinikvError, other.value('k'), before !== again) }`,
    { stdout: 'true 1 true\n' },
  ],
  'the package loaded anew with the addon still there, as test runners do': [
    `const { KEEP } = require('minikv'); const copies = []
     for (let n = 0; n < 3; n++) {
       for (const key of Object.keys(require.cache)) if (!key.endsWith('.node')) delete require.cache[key]
       copies.push(require('minikv'))
     }
     kv.lock('k', { owner: 'a' }).then(async () => {
       const waits = copies.map(({ Registry }, n) => Registry.open('proc').locked('k', { wait: 60_000 }, () => n))
       const [first, , last] = copies.map(({ Registry }) => Registry.open('proc'))
       const event = first.watch().next()
       last.unlock('k', { owner: 'a' })
       console.log(...(await Promise.all(waits)), (await event).value.type, last.update('k', () => KEEP).value)
       try { last.get('') } catch (e) { console.log(e instanceof copies[2].MinikvError) }
     })`,
    { stdout: '0 1 2 unlock 1\ntrue\n' },
  ],
}

for (const [name, [source, expected]] of Object.entries(programs)) {
  test(`the process ends as it should: ${name}`, async () => {
    const { code, signal, stdout, stderr } = await run(HEAD + source)
    assert.deepStrictEqual([code, signal], [expected.code ?? 0, null], stderr)
    if (expected.stdout !== undefined) assert.equal(stdout, expected.stdout, stderr)
  })
}

test('an addon that only a worker had loaded does not vanish under its registries', async () => {
  const { code, signal, stdout, stderr } = await run(`
    const { Worker } = require('node:worker_threads')
    const source = \`
      const { Registry } = require('minikv'); const kv = new Registry('a', { existOk: true })
      for (let n = 0; n < 1000; n++) kv.put('k' + n, n, { ttl: 1 + n % 200 })
      console.log(kv.stats().healthy)
    \`
    const next = (n) => n > 0 && new Worker(source, { eval: true }).on('exit', () => setTimeout(next, 60, n - 1))
    next(5)
  `)
  assert.deepStrictEqual([code, signal], [0, null], stderr)
  assert.equal(stdout, 'true\n'.repeat(5), stderr)
})

test('an interrupt ends a process that waits', async () => {
  const source = `${HEAD};
    kv.lock('k', { owner: 'a' }); kv.lock('k', { owner: 'b', wait: Infinity }); kv.watch().ref().next()
    console.log('waiting')`
  const { signal, stderr } = await run(source, { signalWhen: 'waiting' })
  assert.equal(signal, 'SIGINT', stderr)
})

test('an interrupt can be handled', async () => {
  const source = `${HEAD};
    kv.lock('k', { owner: 'a' })
    kv.lock('k', { owner: 'b', wait: Infinity }).catch((error) => console.log(error.code))
    process.once('SIGINT', () => kv.stop())
    console.log('waiting')`
  const { code, stdout, stderr } = await run(source, { signalWhen: 'waiting' })
  assert.equal(code, 0, stderr)
  assert.equal(stdout, 'waiting\nstopped\n')
})

test('an await that nothing can end is told by Node as any other', async () => {
  const { code } = await run(`import minikv from 'minikv'; await new minikv.Registry().watch().next()`, {
    args: ['--input-type=module'],
  })
  assert.equal(code, 13)
})
