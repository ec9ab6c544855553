// Runs every vector of core/conformance, or of the folder in MINIKV_VECTORS, through the public interface.
//
// Prints each failure as file: case: step, with what was expected and what came; then `Node: N passed, M failed`.

import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { runCase } from './vectors.mjs'

const own = fileURLToPath(new URL('../../core/conformance', import.meta.url))
const folder = process.env.MINIKV_VECTORS || own

const names = new Set()
let passed = 0
let failed = 0

for (const file of fs.readdirSync(folder).filter((name) => name.endsWith('.json')).sort()) {
  for (const vector of JSON.parse(fs.readFileSync(path.join(folder, file), 'utf8'))) {
    try {
      if (names.has(vector.name)) throw new Error('the name is not unique')
      names.add(vector.name)
      await runCase(vector)
      passed++
    } catch (error) {
      failed++
      const step = error.step === undefined ? '' : `step ${error.step}: `
      console.log(`${file}: ${vector.name}: ${step}${error.stepped ? error.message : error.stack}`)
    }
  }
}

console.log(`Node: ${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
