'use strict'

const assert = require('node:assert/strict')
const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')
const ts = require('typescript')
const minikv = require('minikv')
const { folder } = require('./helpers')

const tsc = require.resolve('typescript/bin/tsc')
// Below the package, so that the output finds it by its name.
const out = path.join(folder, 'dist', 'types-test')

test('the types are right where they are used, and what they allow works', async () => {
  fs.rmSync(out, { recursive: true, force: true })
  const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', 'test/types', '--outDir', out], {
    cwd: folder,
    encoding: 'utf8',
  })
  assert.equal(status, 0, stdout)
  await require(path.join(out, 'test/types/usage.js')).main()
  await import(path.join(out, 'test/types/esm.mjs'))
})

/** What index.d.ts declares: the values it exports, and the members of its classes. */
function declared() {
  const file = path.join(folder, 'index.d.ts')
  const program = ts.createProgram([file], { types: ['node'], lib: ['lib.es2023.d.ts'] })
  const checker = program.getTypeChecker()
  const symbol = checker.getSymbolAtLocation(program.getSourceFile(file))
  const values = new Map()
  for (const exported of checker.getExportsOfModule(symbol)) {
    if (!(exported.flags & ts.SymbolFlags.Value)) continue
    const members = (type) =>
      checker
        .getPropertiesOfType(type)
        .filter((member) => member.parent === exported)
        .map((member) => member.name.replace(/^__@(\w+)@\d+$/, 'Symbol.$1'))
        .filter((name) => name !== 'prototype')
        .sort()
    const isClass = (exported.flags & ts.SymbolFlags.Class) !== 0
    values.set(exported.name, isClass ? { own: members(checker.getDeclaredTypeOfSymbol(exported)), statics: members(checker.getTypeOfSymbol(exported)) } : null)
  }
  return { values, checker, symbol, program }
}

test('index.d.ts declares what there is, and nothing else', async () => {
  const { values } = declared()
  assert.deepStrictEqual([...values.keys()].sort(), Object.keys(minikv).sort())
  const esm = await import('minikv')
  assert.deepStrictEqual(Object.keys(esm).sort(), [...Object.keys(minikv), 'default'].sort())
  assert.equal(esm.Registry, minikv.Registry)
  const { inspect } = require('node:util')
  const hidden = new Set(['constructor', 'length', 'name', 'prototype'])
  // For the console and for the converters of this package.
  const internal = { Entry: [String(inspect.custom)], MinikvError: ['code', 'entry'] }
  for (const [name, members] of values) {
    if (members === null) continue
    const keys = (object) =>
      Reflect.ownKeys(object)
        .map((key) => (typeof key === 'symbol' ? key.description : key))
        .filter((key) => !hidden.has(key) && !internal[name]?.includes(key) && key !== 'nodejs.util.inspect.custom')
        .map((key) => key.replace(/^(nodejs\.)?(asyncDispose|dispose)$/, 'Symbol.$2'))
        .sort()
    const known = members.own.filter((member) => !internal[name]?.includes(member))
    assert.deepStrictEqual(keys(minikv[name].prototype), known, name)
    assert.deepStrictEqual(keys(minikv[name]), members.statics, name)
  }
})

test('everything public is documented', () => {
  const { checker, symbol } = declared()
  const missing = []
  const check = (member, where) => {
    if (member.flags & (ts.SymbolFlags.TypeParameter | ts.SymbolFlags.Prototype | ts.SymbolFlags.Constructor)) return
    if (/^(__|toJSON|valueOf)/.test(member.name) && !/dispose/i.test(member.name)) return
    if (/OptionsInForce/.test(where)) return
    if (member.getDocumentationComment(checker).length === 0) missing.push(`${where}.${member.name}`)
  }
  for (const exported of checker.getExportsOfModule(symbol)) {
    check(exported, 'minikv')
    for (const member of exported.members?.values() ?? []) check(member, exported.name)
  }
  assert.deepStrictEqual(missing, [])
})

test('the error codes of the types are those of the core', () => {
  const source = fs.readFileSync(path.join(folder, '../core/src/error.rs'), 'utf8')
  const core = [...source.matchAll(/^ {4}\w+ = \d+ "(\w+)",$/gm)].map((match) => match[1])
  const types = fs.readFileSync(path.join(folder, 'index.d.ts'), 'utf8')
  const union = types.slice(types.indexOf('export type ErrorCode'), types.indexOf('/** What went wrong.'))
  assert.ok(core.length > 10)
  assert.deepStrictEqual([...union.matchAll(/'(\w+)'/g)].map((match) => match[1]), core)
})
