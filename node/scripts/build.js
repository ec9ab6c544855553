'use strict'
// Builds the addon and puts it beside index.js. In a package that brings the addon there is nothing to build.

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

const folder = path.resolve(__dirname, '..')
const addon = path.join(folder, 'minikv.node')

if (!fs.existsSync(path.join(folder, 'Cargo.toml'))) {
  if (fs.existsSync(addon)) process.exit(0)
  console.error('minikv: this package brings neither the addon nor its source; install it from a checkout')
  process.exit(1)
}

const build = ['build', '--release', '-p', 'minikv-node', '--message-format', 'json-render-diagnostics']
const cargo = spawnSync('cargo', build, {
  cwd: folder,
  encoding: 'utf8',
  maxBuffer: 64 << 20,
  stdio: ['ignore', 'pipe', 'inherit'],
})
if (cargo.error) {
  console.error(`minikv: cannot run cargo (${cargo.error.message}); building needs a Rust toolchain`)
  process.exit(1)
}
if (cargo.status !== 0) process.exit(cargo.status ?? 1)

// Cargo says itself where the library is, whatever the target directory.
const built = cargo.stdout
  .split('\n')
  .filter((line) => line.startsWith('{'))
  .map((line) => JSON.parse(line))
  .filter((message) => message.reason === 'compiler-artifact' && message.target.name === 'minikv_node')
  .flatMap((message) => message.filenames)
  .find((name) => /\.(so|dylib|dll)$/.test(name))
if (!built) {
  console.error('minikv: cargo built no library')
  process.exit(1)
}

// Never write into a file that a running process has mapped: replace it.
const fresh = `${addon}.${process.pid}`
fs.copyFileSync(built, fresh)
fs.renameSync(fresh, addon)
console.error(`minikv: built ${path.relative(process.cwd(), addon) || addon}`)
