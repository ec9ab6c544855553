'use strict'

const assert = require('node:assert/strict')
const { spawn } = require('node:child_process')
const path = require('node:path')
const { Registry, MinikvError } = require('minikv')

const folder = path.resolve(__dirname, '..')

/** A registry for one test, stopped when the test ends. */
function start(t, ...args) {
  const kv = new Registry(...args)
  t.after(() => kv.stop())
  return kv
}

/** Asserts that a call fails with this kind, synchronously or not. */
async function refuses(code, call, message) {
  let error
  let result
  try {
    result = await call()
  } catch (caught) {
    error = caught
  }
  assert.ok(error !== undefined, `expected ${code}, got ${String(result)}`)
  assert.ok(error instanceof MinikvError, `expected ${code}, got ${error?.stack}`)
  assert.equal(error.code, code, error.stack)
  if (message !== undefined) assert.match(error.message, message)
  return error
}

/** Runs a program in a process of its own, which must end by itself. */
function run(source, { args = [], signalWhen, signalWith = 'SIGINT' } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...args, '-e', source], { cwd: folder })
    let [stdout, stderr] = ['', '']
    const timer = setTimeout(() => child.kill('SIGKILL'), 60_000)
    child.stdout.on('data', (data) => {
      stdout += data
      if (signalWhen !== undefined && stdout.includes(signalWhen)) {
        signalWhen = undefined
        child.kill(signalWith)
      }
    })
    child.stderr.on('data', (data) => (stderr += data))
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, stdout, stderr })
    })
  })
}

module.exports = { folder, start, refuses, run }
