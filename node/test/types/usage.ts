// Uses the types as people do; compiled by tsc --strict, and its output is run.

import { strict as assert } from 'node:assert'
import { DELETE, Entry, Event, KEEP, Member, MemberState, MinikvError, Options, Registry, StartOptions, Stats, Storable, Value, float } from 'minikv'

interface Account {
  owner: string
  cents: number
}

export async function main(): Promise<void> {
  const kv = new Registry({ clock: 'manual', defaultTtl: '60s' })
  const entry: Entry<Account> | null = kv.get<Account>('a')
  assert.equal(entry, null)
  kv.put('a', { owner: 'ann', cents: 5 }, { ttl: 1000, ifAbsent: true })
  const cents: number | undefined = kv.get<Account>('a')?.value.cents
  assert.equal(cents, 5)
  const plain: number | undefined = kv.value<number>('n')
  const fallback: number = kv.value<number>('n', 0)
  const other: number | null = kv.value<number, null>('n', null)
  assert.deepEqual([plain, fallback, other], [undefined, 0, null])

  const stored: Storable = [null, true, 1n, float(1), new Map([['k', new Uint8Array(1)]]), { a: ['b'] }]
  const value: Value = kv.put('s', stored).value
  assert.ok(Array.isArray(value))

  kv.update<number>('n', (n) => (n === undefined ? 1 : n > 5 ? DELETE : KEEP))
  const times: [number, number | null, bigint, bigint | null, bigint | null] = (({ time, exp, timeNs, expNs, fence }) => [
    time,
    exp,
    timeNs,
    expNs,
    fence,
  ])(kv.get('n') as Entry)
  assert.equal(times.length, 5)

  const maybe: Entry | null = await kv.lock('n', { owner: 'w1', wait: 500, signal: AbortSignal.timeout(60_000) })
  assert.ok(maybe !== null)
  const surely: Entry<number> = await kv.lock<number>('n', { owner: 'w1', put: 7 })
  assert.equal(surely.value, 7)
  kv.unlock('n', { owner: 'w1', fence: surely.fence })

  const sum: number = await kv.locked<number, number>('n', { wait: 5000 }, async (held) => {
    const signal: AbortSignal = held.signal
    assert.equal(signal.aborted, false)
    return held.put(8).value + Number(held.fence > 0n)
  })
  assert.equal(sum, 9)
  await kv.locked('n', (held) => void held.release())
  {
    await using held = await kv.locked<number>('n', { wait: 5000 })
    held.put(90)
    assert.equal(kv.get('n')?.lock, true)
  }
  assert.equal(kv.get('n')?.lock, false)
  {
    using held = await kv.locked('n')
    held.check()
  }
  assert.equal(kv.get('n')?.lock, false)

  const watch = kv.watch<number>({ prefix: 'n', initial: true })
  kv.put('n', 5)
  const events: Event<number>[] = []
  for await (const event of watch) {
    events.push(event)
    if (event.type === 'lagged') {
      const lost: number = event.count
      assert.fail(String(lost))
    } else if (event.type === 'member') {
      const [node, state]: [string, MemberState] = [event.node, event.state]
      assert.fail(node + state)
    } else if (event.type === 'owner') {
      const [node, owner]: [string, string] = [event.node, event.owner]
      assert.fail(node + owner)
    } else {
      const key: string | Buffer = event.key
      assert.equal(key, 'n')
      if (event.entry.value === 5) break
    }
  }
  assert.deepEqual(events.map((event) => event.entry?.value), [90, 5])

  const keys: (string | Buffer)[] = kv.keys('n')
  const raw: Buffer[] = kv.keys({ prefix: 'n', raw: true })
  const cursor: string | null = kv.entries({ limit: 1 }).cursor
  assert.deepEqual([keys, raw, typeof cursor], [['n'], [Buffer.from('n')], 'string'])
  const many: (Entry<number> | null)[] = kv.getMany<number>(['n', 'x'])
  kv.putMany([['a', 1], ['b', 'x']]) // prettier-ignore
  kv.putMany(new Map([['c', 1]]))
  assert.equal(many[1], null)
  const computed: Entry<string> = await kv.getOrPut<string>('lazy', async () => 'value', { ttl: '5s' })
  assert.equal(computed.value, 'value')

  const options: Options = kv.options()
  assert.equal(options.clock, 'manual')
  try {
    kv.get('')
    assert.fail()
  } catch (error) {
    if (!(error instanceof MinikvError)) throw error
    assert.equal(error.code, 'invalid_key')
  }
  {
    await using again = new Registry(kv.options())
    again.put('k', 1)
  }
  await kv.stop()
  await inACluster()
}

async function inACluster(): Promise<void> {
  const options: StartOptions = {
    cluster: 'types',
    node: 'n',
    listen: '127.0.0.1:0',
    peers: [],
    failureTimeout: '1s',
    discovery: null,
    tls: null,
  }
  await using kv: Registry = await Registry.start(options)
  await kv.waitSynced(60_000, { signal: AbortSignal.timeout(60_000) })
  await kv.waitSynced()
  const ready: boolean = kv.ready()
  const [member]: Member[] = kv.members()
  const [node, state, lag, digest]: [string, MemberState, number, string | null] = [
    member!.node,
    member!.state,
    member!.lag,
    member!.digest,
  ]
  assert.deepEqual([ready, node, state, lag, typeof digest], [true, 'n', 'live', 0, 'string'])
  const endpoints: string[] = kv.endpoints()
  assert.equal(endpoints.length, 1)
  const { members, replicatedOut }: Stats = kv.stats()
  assert.deepEqual([members, replicatedOut], [1, 0])
  {
    await using again = new Registry({ ...kv.options(), node: 'm', peers: endpoints })
    await again.waitSynced('60s')
  }
}

export function refusedByTheTypes(kv: Registry): void {
  // @ts-expect-error a Date cannot be stored
  kv.put('k', new Date())
  // @ts-expect-error a Set cannot be stored
  kv.put('k', { a: new Set() })
  // @ts-expect-error nested undefined cannot be stored
  kv.put('k', [undefined])
  // @ts-expect-error no such option
  kv.put('k', 1, { tll: 5 })
  // @ts-expect-error put takes no lock
  kv.put('k', 1, { lock: true })
  // @ts-expect-error keys are text or bytes
  kv.get(5)
  // @ts-expect-error a key may be absent
  kv.get('k').value
  // @ts-expect-error entries are frozen
  kv.put('k', 1).value = 2
  // @ts-expect-error no such option
  new Registry('a', { defaultTTL: 5 })
  // @ts-expect-error no such discovery
  new Registry({ cluster: 'c', discovery: 'dns' })
  // @ts-expect-error all three paths are required
  new Registry({ cluster: 'c', tls: { ca: 'ca.pem', cert: 'cert.pem' } })
  // @ts-expect-error members are frozen
  kv.members()[0]!.state = 'left'
  // @ts-expect-error entries are made by a registry
  new Entry('x')
}
