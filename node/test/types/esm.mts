// The same package as an ES module.

import minikv, { KEEP, Registry, type Entry } from 'minikv'
import * as all from 'minikv'

const kv: Registry = new minikv.Registry()
const entry: Entry<number> = kv.put<number>('k', 1)
if (entry.value !== 1 || all.KEEP !== KEEP || all.Registry !== Registry) throw new Error('not one module')
await kv.stop()
