'use strict'

const { once } = require('node:events')
const { spawn } = require('node:child_process')
const { setTimeout: sleep } = require('node:timers/promises')
const { Registry } = require('minikv')
const { folder } = require('./helpers')

/** What a test waits for at most: nothing takes so long unless it never comes. */
const LONG = 60_000

let clusters = 0
/** The name of a cluster that no other test has, not even in another process. */
const clusterName = () => `test-${process.pid}-${++clusters}`

/** Options of a member. */
function options(cluster, node, peers = [], more = {}) {
  return { cluster, node, peers, failureTimeout: 1000, ...more }
}

/** A synced member, stopped when the test ends. */
async function member(t, ...args) {
  const kv = await Registry.start(options(...args))
  t.after(() => kv.stop())
  await kv.waitSynced(LONG)
  return kv
}

/** Waits until `holds` gives something true, and gives it. */
async function until(what, holds) {
  const end = performance.now() + LONG
  for (;;) {
    const result = await holds()
    if (result) return result
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`)
    await sleep(2)
  }
}

const PROGRAM = `
  const { Registry } = require('minikv')
  const { setTimeout: sleep } = require('node:timers/promises')
  let kv
  process.on('disconnect', () => process.exit())
  process.on('message', async ({ id, source }) => {
    try {
      process.send({ id, result: (await eval('(async () => { ' + source + ' })()')) ?? null })
    } catch (error) {
      process.send({ id, error: error.code ?? error.stack, message: error.message })
    }
  })
`

/** A process of its own that runs what it is told. */
class Process {
  #asked = new Map()
  #next = 0

  constructor(t) {
    this.child = spawn(process.execPath, ['-e', PROGRAM], { cwd: folder, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.ended = once(this.child, 'exit')
    this.child.on('message', ({ id, result, error, message }) => {
      const { resolve, reject } = this.#asked.get(id)
      this.#asked.delete(id)
      if (error === undefined) resolve(result)
      else reject(Object.assign(new Error(message), { code: error }))
    })
    this.child.on('exit', (code, signal) => {
      for (const { reject } of this.#asked.values()) reject(new Error(`the process ended: ${code ?? signal}`))
      this.#asked.clear()
    })
    t.after(() => this.kill())
  }

  /** What the body of an async function gives there. */
  run(source) {
    return new Promise((resolve, reject) => {
      const id = this.#next++
      this.#asked.set(id, { resolve, reject })
      this.child.send({ id, source })
    })
  }

  async kill(signal = 'SIGKILL') {
    this.child.kill(signal)
    if (signal === 'SIGKILL') await this.ended
  }

  /** A member in it by the name of `kv`. */
  static async member(t, ...args) {
    const other = new Process(t)
    const given = JSON.stringify(options(...args))
    await other.run(`kv = await Registry.start(${given}); await kv.waitSynced(${LONG})`)
    return other
  }

  endpoints() {
    return this.run('return kv.endpoints()')
  }
}

module.exports = { LONG, Process, clusterName, member, options, sleep, until }
