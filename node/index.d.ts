/// <reference types="node" />
/// <reference lib="esnext.disposable" />

/**
 * A key-value registry that lives inside your program: typed values, locks with fences, TTLs, watches.
 *
 * ```js
 * const { Registry } = require('minikv')
 * const kv = new Registry('wallet', { defaultTtl: 60_000 })
 * kv.put('balance', 100, { ttl: 1000 })
 * kv.get('balance').value // 100
 * await kv.locked('balance', { wait: 5000 }, async (held) => { held.put(90) })
 * await kv.stop()
 * ```
 *
 * Calls that cannot wait return at once; `lock`, `locked`, `getOrPut`, `waitSynced`, `stop` and `Registry.start` return
 * promises: in a cluster they may wait for other members. Every failure is a {@link MinikvError} with a stable `code` and
 * leaves the registry as it was. Errors that every call may give are `stopped` and, where it takes a key, `invalid_key`;
 * in a cluster every write and lock may give `cluster`, if this machine's clock is too far from the others'. They are not
 * repeated below.
 *
 * @packageDocumentation
 */

/** A key: text, or bytes. 1 to 65,535 bytes (text as UTF-8), otherwise `invalid_key`. */
export type Key = string | Uint8Array | ArrayBuffer

/** The start of keys: 0 to 65,535 bytes. Empty: all keys. */
export type Prefix = string | Uint8Array | ArrayBuffer

/**
 * What comes back as a value. Lists, maps and bytes are the caller's own copies.
 *
 * An int is a number if it is safe, else a bigint; with the option `ints: 'bigint'` always a bigint.
 */
export type Value = null | boolean | number | bigint | string | Buffer | Value[] | { [key: string]: Value }

/**
 * What can be stored: a safe integer other than -0 as int, any other number as float ({@link float} makes 1 a
 * float), bigint of 64 bits as int, bytes, arrays, plain objects (their own enumerable properties) and Maps with text
 * keys. Nested at most 128 deep, at most 16 MiB. Anything else is `invalid_value`, and the message names the
 * path to it.
 */
export type Storable =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | ArrayBuffer
  | Float
  | readonly Storable[]
  | ReadonlyMap<string, Storable>
  | { readonly [key: string]: Storable }

/**
 * Milliseconds as a number, to the nearest nanosecond; or text with a unit: `'60s'`, `'1.5h'`. Units: ns us ms s m h d.
 * Negative, NaN or without a unit: `invalid_argument`.
 */
export type Duration = number | string

/** The stable names of errors. */
export type ErrorCode =
  | 'stopped'
  | 'forked'
  | 'invalid_key'
  | 'invalid_value'
  | 'invalid_argument'
  | 'stale_fence'
  | 'locked'
  | 'conflict'
  | 'lock_lost'
  | 'timeout'
  | 'not_found'
  | 'already_started'
  | 'limit'
  | 'no_quorum'
  | 'cluster'
  | 'io'
  | 'corrupt'
  | 'internal'

/** What went wrong. The message is for people and may change; `code` never does. */
export class MinikvError extends Error {
  constructor(code: ErrorCode, message: string, entry?: Entry | null)
  /** The stable name. */
  readonly code: ErrorCode
  /** Of a `conflict` only: the entry that was there, null if the key is absent. */
  readonly entry?: Entry | null
}

/** A number that is stored as a float, whatever its value; from {@link float}. */
export class Float {
  private constructor()
  /** The number. */
  readonly value: number
  valueOf(): number
  toJSON(): number
}

/**
 * Makes a number a float, also one that would be stored as an int.
 *
 * @throws `invalid_value` if it is not a number.
 */
export function float(value: number): Float

/** Returned by the function of an `update`: leave everything as it is. */
export const KEEP: unique symbol

/** Returned by the function of an `update`: remove the entry. */
export const DELETE: unique symbol

/** The types of values. */
export type ValueType = 'nil' | 'bool' | 'int' | 'float' | 'text' | 'bytes' | 'list' | 'map'

/** Who holds a lock. */
export interface Holder {
  /** The name of the node. */
  node: string
  /** The label given as `owner`, null if none was. */
  owner: string | null
}

/**
 * A snapshot of a key as it was when it was read; later changes do not show in it. Frozen.
 *
 * The fields are getters: use `toJSON()` for a plain object, also to send an entry to another thread.
 */
export class Entry<T = Value> {
  private constructor()
  /** Text where the key is valid UTF-8, otherwise bytes. */
  readonly key: string | Buffer
  /** The key as bytes, always. */
  readonly rawKey: Buffer
  /** The value; of lists, maps and bytes a fresh copy each time. */
  readonly value: T
  /** The type of the value; it tells 1 and 1.0 apart. */
  readonly type: ValueType
  /**
   * The owner: the node whose put created this value; in a cluster, while no member of that name is live, the live
   * member whose name comes first.
   */
  readonly node: string
  /** When the value was put, in ms since the Unix epoch, with a fraction. */
  readonly time: number
  /** When the entry expires, in ms since the Unix epoch, with a fraction; null: never. */
  readonly exp: number | null
  /** `time` in ns, exactly. */
  readonly timeNs: bigint
  /** `exp` in ns, exactly. */
  readonly expNs: bigint | null
  /** Whether somebody held the key's lock. */
  readonly lock: boolean
  /** Who held it; null: nobody. */
  readonly holder: Holder | null
  /** The fence of the key's last lock; null if it was never locked. */
  readonly fence: bigint | null
  /** The version of the value: text that sorts as versions do, also good as an ETag. */
  readonly version: string
  /** How many ms the entry had left when it was read; null: for ever. */
  readonly expiresIn: number | null
  /** A plain object for JSON: the fence, and an int that is not safe, as text. */
  toJSON(): {
    key: string | Buffer
    value: unknown
    type: ValueType
    node: string
    time: number
    exp: number | null
    lock: boolean
    holder: Holder | null
    fence: string | null
    version: string
  }
}

/** Options of every write. In a cluster conditions hold on this member only; hold the lock to make them exclusive. */
export interface WriteOptions {
  /** Acts as the holder with this label, at most 1,024 bytes. Default: no label. */
  owner?: string | null
  /** Only if this is the key's last fence and was not released; otherwise `stale_fence`. */
  fence?: bigint | number | null
  /** Only if the entry is present with this version; otherwise `conflict`. */
  ifVersion?: string | null
}

/** When a value that is stored expires. */
export interface StoreOptions {
  /** Expires after this long; 0: at once. Default: the registry's `defaultTtl`. */
  ttl?: Duration | null
  /** Never expires, whatever `ttl`, `keepTtl` and `defaultTtl` say. Default false. */
  persist?: boolean | null
  /** Expires when the present entry does; on an absent key as by default. Contradicts `ttl`. Default false. */
  keepTtl?: boolean | null
  /** Only if the key is absent; otherwise `conflict`. Default false. */
  ifAbsent?: boolean | null
}

/** Options of a put. */
export interface PutOptions extends WriteOptions, StoreOptions {}

/** What can be aborted. */
export interface Abortable {
  /** Aborting it ends the wait, gives back what was granted meanwhile, and rejects with the signal's reason. */
  signal?: AbortSignal | null
}

/** Options of a lock. */
export interface LockOptions extends WriteOptions, Abortable {
  /** Waits for the lock at most this long, in order of arrival; Infinity: as long as it takes. Default 0. */
  wait?: Duration | null
  /** The lock ends by itself after this long, at most 10 minutes. Default: the registry's `lockLease`. */
  lease?: Duration | null
}

/** Options of `lock`: with `put` the value is stored in the same step, also on an absent key. */
export interface LockPutOptions extends LockOptions, StoreOptions {
  /** The value to store; undefined: none. The options of {@link StoreOptions} belong to it. */
  put?: Storable
}

/** Options of `locked`. */
export interface LockedOptions extends LockOptions {
  /**
   * On an absent key stores null and locks it in one step; the release deletes it if nobody put a value since.
   * Default false: an absent key is `not_found`.
   */
  create?: boolean | null
}

/** Options of `getOrPut`. */
export interface GetOrPutOptions extends PutOptions, Abortable {}

/** Options of a listing. */
export interface ListOptions {
  /** Only keys that start with this. Default: all. */
  prefix?: Prefix | null
  /** At most so many, at least 1. Default: all. */
  limit?: number | null
  /** Goes on where the page with this cursor ended. */
  cursor?: string | null
  /** Of `keys`: gives bytes always. Default false. */
  raw?: boolean | null
}

/** A list that knows where the next one starts. */
export type Page<T> = T[] & {
  /** To be given for the next page; null: this was the last. */
  readonly cursor: string | null
}

/** Options of a watch. */
export interface WatchOptions extends Abortable {
  /** Only keys that start with this. Default: all. */
  prefix?: Prefix | null
  /** Only this key. Contradicts a prefix. */
  key?: Key | null
  /** The present entries first, as `put` events, without a gap before what follows. Default false. */
  initial?: boolean | null
  /** How many unread events are kept before the oldest are dropped, 1 to 2^24. Default 4096. */
  capacity?: number | null
}

/** Something that happened to a key: `delete` and `expire` carry the removed entry. Frozen. */
export interface KeyEvent<T = Value> {
  /** What happened: a lapsed lease is an `unlock`; `initial` gives each present entry as a `put`. */
  readonly type: 'put' | 'delete' | 'expire' | 'touch' | 'persist' | 'lock' | 'unlock'
  /** The key: text where it is valid UTF-8, otherwise bytes. */
  readonly key: string | Buffer
  /** The entry after the event; of `delete` and `expire` the removed one. */
  readonly entry: Entry<T>
  /** 1. */
  readonly count: number
  /** There is none: see the entry's. */
  readonly node: null
  /** There is none. */
  readonly state: null
  /** There is none: see the entry's holder. */
  readonly owner: null
}

/** A member of the cluster came, went, or is otherwise than before; every watch gets it, whatever it watches. Frozen. */
export interface MemberEvent {
  /** Tells it from the others. */
  readonly type: 'member'
  /** There is none. */
  readonly key: null
  /** There is none. */
  readonly entry: null
  /** 1. */
  readonly count: number
  /** The member's name. */
  readonly node: string
  /** How it is from now on. */
  readonly state: MemberState
  /** There is none. */
  readonly owner: null
}

/**
 * The entries of a node have passed to another member, or back: one event for all of them. Every watch gets it,
 * whatever it watches. Frozen.
 */
export interface OwnerEvent {
  /** Tells it from the others. */
  readonly type: 'owner'
  /** There is none. */
  readonly key: null
  /** There is none. */
  readonly entry: null
  /** 1. */
  readonly count: number
  /** The node whose entries have passed. */
  readonly node: string
  /** There is none. */
  readonly state: null
  /** The node that has them from now on. */
  readonly owner: string
}

/** The reader was too slow. Frozen. */
export interface LaggedEvent {
  /** Tells it from what happened to a key. */
  readonly type: 'lagged'
  /** There is none. */
  readonly key: null
  /** There is none. */
  readonly entry: null
  /** How many events before the next one are lost. */
  readonly count: number
  /** There is none. */
  readonly node: null
  /** There is none. */
  readonly state: null
  /** There is none. */
  readonly owner: null
}

/** One event of a watch; `member` and `owner` come in a cluster only. */
export type Event<T = Value> = KeyEvent<T> | MemberEvent | OwnerEvent | LaggedEvent

/**
 * A subscription, from {@link Registry.watch}: iterate it with `for await`. It ends when it is closed, when the loop is
 * left, or when the registry stops.
 *
 * Waiting for an event does not keep the process alive, unless {@link Watch.ref} was called.
 */
export class Watch<T = Value> implements AsyncIterableIterator<Event<T>>, AsyncDisposable {
  private constructor()
  /** The next event; several calls are answered in order. After an abort it rejects with the signal's reason. */
  next(): Promise<IteratorResult<Event<T>, undefined>>
  /** The next event if there is one now, otherwise null. Never waits. */
  tryNext(): Event<T> | null
  /** Ends the watch; events already queued can still be read. Once more is fine. */
  close(): void
  /** Ends the watch; called when a `for await` is left. */
  return(value?: any): Promise<IteratorReturnResult<any>>
  /** From now on waiting for an event keeps the process alive. */
  ref(): this
  /** From now on it does not; the default. */
  unref(): this
  [Symbol.asyncIterator](): this
  /** As `close`. */
  [Symbol.dispose](): void
  /** As `close`. */
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * A held lock, from {@link Registry.locked}. Its methods act as its holder, with its fence. A lease that was given is
 * renewed by itself; if the lock is lost all the same, the methods throw `lock_lost`.
 *
 * One that is neither released nor reachable any more is released some time later; better release it.
 */
export class Held<T = Value> implements AsyncDisposable {
  private constructor()
  /** The key that is locked. */
  readonly key: string | Buffer
  /** The holder's label: the one given, or one that no other guard has. */
  readonly owner: string
  /** Larger than the fence of every lock of this key before. */
  readonly fence: bigint
  /** Whether the lock ended before it was released. */
  readonly lost: boolean
  /** Aborted when the lock is lost; its reason is a {@link MinikvError} `lock_lost`. */
  readonly signal: AbortSignal
  /** The entry; null if it is absent. */
  get(): Entry<T> | null
  /** As {@link Registry.put}; owner and fence are the guard's. */
  put(value: Storable, options?: StoreOptions & Pick<WriteOptions, 'ifVersion'>): Entry<T>
  /** Removes the entry, and with it the lock: there is nothing left to release. */
  delete(): Entry<T> | null
  /** As {@link Registry.incr}. */
  incr(by?: number | bigint): Entry<T>
  /** As {@link Registry.update}. */
  update(change: (value: T | undefined) => Storable | typeof KEEP | typeof DELETE): Entry<T> | null
  /** As {@link Registry.touch}. */
  touch(ttl: Duration): Entry<T> | null
  /** As {@link Registry.persist}. */
  persist(): Entry<T> | null
  /** Throws `lock_lost` if the lock is not held any more. */
  check(): void
  /** Releases the lock; once more is fine. `lock_lost` if it ended before. */
  release(): void
  /** As `release`, for `using`. */
  [Symbol.dispose](): void
  /** As `release`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

/** What concerns a handle, not the registry. */
export interface HandleOptions {
  /** `'bigint'`: ints come back as bigint always. Default `'auto'`: as number where they are safe. */
  ints?: 'auto' | 'bigint' | null
}

/** Options of a registry: plain data that can be stored and started again. */
export interface Options {
  /** The name under which `Registry.open` finds it. Default: none. */
  name?: string | null
  /** The node's name, which entries carry as their owner. Default `'local'`. */
  node?: string | null
  /** The ttl of entries that are put without one. Default: none, they do not expire. */
  defaultTtl?: Duration | null
  /** The largest encoding of a value, in bytes. Default and maximum 16 MiB. */
  maxValueBytes?: number | null
  /** The most entries at a time; one more is `limit`. Default: no limit. */
  maxEntries?: number | null
  /** The most memory for entries, in bytes; more is `limit`. Default: no limit. */
  maxBytes?: number | null
  /** The most watches at a time; one more is `limit`. Default 1024. */
  maxWatchers?: number | null
  /** The lease of locks that are taken without one, at most 10 minutes. Default: none. */
  lockLease?: Duration | null
  /** `'manual'` moves only by `advance`, for tests; not in a cluster. Default `'system'`. */
  clock?: 'system' | 'manual' | null
  /**
   * The name of a cluster to be a member of: all members hold all entries. Give each member a `node` of its own. The
   * options that follow belong to it. Default: no cluster, no sockets.
   */
  cluster?: string | null
  /** Where to listen: `'host:port'` (port 0: a free one) or `'unix:/path'`. Default `'127.0.0.1:0'`. */
  listen?: string | readonly string[] | null
  /** Where to dial other members. What cannot be reached is tried again, and is no error. Default: nowhere. */
  peers?: string | readonly string[] | null
  /** `'multicast'` finds members in the local network. Default: only `peers`, and whom they know. */
  discovery?: 'multicast' | null
  /** How long a member may be silent until it is taken for dead, 100 ms to 60 s. Default 2.5 s. */
  failureTimeout?: Duration | null
  /** Encrypts all links; members without a certificate of the same authority are refused. Default: no encryption. */
  tls?: TlsOptions | null
}

/** The certificates of a member of a cluster: paths of PEM files, all of them required. */
export interface TlsOptions {
  /** The certificate of the authority that has signed those of all members. */
  ca: string
  /** This member's certificate. */
  cert: string
  /** Its private key. */
  key: string
}

/** Options to start a registry with. */
export interface StartOptions extends Options, HandleOptions {
  /** Opens a running registry of this name if its options agree, instead of `already_started`. Default false. */
  existOk?: boolean | null
}

/** The options in force: durations as text with a unit, null where nothing is set. */
export interface OptionsInForce {
  name: string | null
  node: string
  defaultTtl: string | null
  maxValueBytes: number
  maxEntries: number | null
  maxBytes: number | null
  maxWatchers: number
  lockLease: string | null
  clock: 'system' | 'manual'
  cluster: string | null
  listen: string[] | null
  peers: string[] | null
  discovery: 'multicast' | null
  failureTimeout: string | null
  tls: TlsOptions | null
}

/** How a member of a cluster is: there but not synced yet; there; silent for the failure timeout, without a
 * link, or not hearing this one; or gone in good order. */
export type MemberState = 'joining' | 'live' | 'down' | 'left'

/** One member of a cluster, from {@link Registry.members}. A plain object, frozen. */
export interface Member {
  /** Its name. */
  readonly node: string
  /** The identity of this start of it: 32 hexadecimal digits. */
  readonly incarnation: string
  /** How it is, as this member sees it. */
  readonly state: MemberState
  /** Changes it has announced that are not applied here yet. */
  readonly lag: number
  /** What it holds, as 16 hexadecimal digits: equal tables have equal ones. null until it has told, and outside a cluster. */
  readonly digest: string | null
  /** Whether it is this very member. */
  readonly isSelf: boolean
  /** Whether another live member has the same name. */
  readonly namesake: boolean
}

/** Counts of one moment. */
export interface Stats {
  /** Entries in the table; those that have just expired may be among them. */
  entries: number
  /** Bytes of memory for entries and their indexes. */
  bytes: number
  /** Entries that will expire. */
  expiring: number
  /** Locks that are held. */
  locks: number
  /** Callers that wait for a lock. */
  waiters: number
  /** Open watches. */
  watchers: number
  /** Events that slow watchers have lost since the start. */
  lagged: number
  /** Entries that have expired since the start. */
  expired: number
  /** How often a background worker was restarted after a panic. */
  workerRestarts: number
  /** False after too many restarts within a minute; reads and writes go on. */
  healthy: boolean
  /** Members of the cluster in touch, joining or live, this one included; without a cluster 1. */
  members: number
  /** Records sent to all other members; those that found the outbox full count, too. */
  replicatedOut: number
  /** Records of other members applied here. */
  replicatedIn: number
  /** Records waiting to be sent. */
  outbox: number
  /** Records that found the outbox full, so that the others fetch them by comparing. */
  outboxOverflows: number
  /** Comparisons with other members that moved something. */
  repairs: number
  /** Deleted and expired entries, and locks without a value, that are kept in mind until all members know. */
  tombstones: number
  /** Records from beyond the bound of the clock, kept until they are due. */
  parked: number
  /** Messages, links and connections turned away: garbage, another cluster, another version, wrong certificates. */
  refused: number
  /** Records (entries and tombstones) received in the first sync. */
  syncEntries: number
  /** Entries that the first sync has in all. */
  syncTotal: number
  /** How far this clock is from the lower median of the live members', in ms. */
  clockOffsetMs: number
}

/**
 * A handle to a registry.
 *
 * A registry with a name belongs to the process: every thread can open it, and it runs until `stop` or the end of the
 * process, also when the worker that started it has ended. One without a name lasts as long as something refers to it.
 *
 * What keeps the process alive: a `lock`, `locked`, `getOrPut`, `waitSynced`, `stop` or `Registry.start` that waits;
 * nothing else. A registry that was not stopped, in a cluster or not, an entry that will expire, a held lock, and a
 * watch (see {@link Watch.ref}) do not. To other members a process that ends without `stop` is one that died.
 */
export class Registry implements AsyncDisposable {
  /**
   * Starts a registry. In a cluster without any wait for other members: see {@link Registry.waitSynced}, which also
   * tells if a live one has the same node name; {@link Registry.start} waits for such things first.
   *
   * @param name The name under which others open it; without one only this handle reaches it.
   * @param options Also what {@link Registry.options} gave.
   * @throws `already_started` if one of this name runs in this process; `invalid_argument`, for a misspelt option with
   *   the nearest right one; in a cluster `io` if it cannot listen, or read the files of `tls`.
   */
  constructor(name?: string | null, options?: StartOptions | null)
  constructor(options: StartOptions)

  /**
   * Starts a registry as the constructor does. In a cluster it waits a moment, at most half a second, for a first word
   * of the configured peers, and up to two failure timeouts for an earlier member of the same node name to vanish.
   *
   * ```js
   * const { Registry } = require('minikv')
   * const kv = await Registry.start('wallet', { cluster: 'shop', node: 'n1', listen: '127.0.0.1:0' })
   * await kv.waitSynced(10_000)
   * console.log(kv.endpoints()) // what others give as `peers`
   * await kv.stop()
   * ```
   *
   * Rejects as the constructor throws; in a cluster also with `cluster` if a live member has the same node name.
   */
  static start(name?: string | null, options?: StartOptions | null): Promise<Registry>
  static start(options: StartOptions): Promise<Registry>

  /**
   * The registry of this name that was started in this process, from any thread: one table, no copies.
   *
   * @throws `not_found`
   */
  static open(name: string, options?: HandleOptions | null): Registry

  /**
   * Starts a registry, as the constructor does, with the options of a TOML file, whose fields are written with
   * underscores: `default_ttl = "60s"`.
   *
   * @throws `io` if it cannot be read; as the constructor.
   */
  static fromConfig(path: string | URL, options?: Pick<StartOptions, 'existOk' | 'ints'> | null): Registry

  /** The entry of a key; null if it is absent. */
  get<T = Value>(key: Key): Entry<T> | null

  /**
   * The plain value of a key; `fallback` (default undefined) if it is absent.
   *
   * The fastest read: nil, booleans, numbers and texts of up to 1,024 bytes that were read lately (up to 4,096 of a handle) come from a cache in front of the registry.
   * It is never stale: any write to the key, by whatever thread or member, and its expiry take effect at once.
   */
  value<T = Value>(key: Key): T | undefined
  value<T = Value, F = T>(key: Key, fallback: F): T | F

  /** Whether the key is present. */
  contains(key: Key): boolean

  /**
   * Stores a value and returns the entry; a held lock stays held. It never waits: to take the lock in the same step
   * use `lock` with `put`.
   *
   * @throws `invalid_value`, `invalid_argument`, `stale_fence`, `locked`, `conflict`, `limit`
   */
  put<T = Value>(key: Key, value: Storable, options?: PutOptions | null): Entry<T>

  /** The same as `put`. */
  set<T = Value>(key: Key, value: Storable, options?: PutOptions | null): Entry<T>

  /**
   * Removes an entry and ends its lock; returns the removed entry, null if the key was absent.
   *
   * @throws `invalid_argument`, `stale_fence`, `locked`, `conflict`
   */
  delete<T = Value>(key: Key, options?: WriteOptions | null): Entry<T> | null

  /**
   * Unlocks a key and returns the entry; unchanged if it is not locked, null if it is absent.
   *
   * @throws `invalid_argument`, `stale_fence`, `locked`, `conflict`
   */
  unlock<T = Value>(key: Key, options?: WriteOptions | null): Entry<T> | null

  /**
   * Clears the expiry of an entry; null if the key is absent.
   *
   * @throws `invalid_argument`, `stale_fence`, `locked`, `conflict`
   */
  persist<T = Value>(key: Key, options?: WriteOptions | null): Entry<T> | null

  /**
   * Lets an entry expire after `ttl` from now; null if the key is absent.
   *
   * @throws `invalid_argument`, `stale_fence`, `locked`, `conflict`
   */
  touch<T = Value>(key: Key, ttl: Duration, options?: WriteOptions | null): Entry<T> | null

  /**
   * Adds `by` (default 1) to an int; an absent key counts as 0 and gets the `defaultTtl`, a present one keeps its
   * expiry. In a cluster it is atomic on this member only; hold the lock to make it exclusive.
   *
   * @throws `invalid_value` (not an int, or out of range), `invalid_argument`, `stale_fence`, `locked`, `conflict`, `limit`
   */
  incr<T = Value>(key: Key, by?: number | bigint | null, options?: WriteOptions | null): Entry<T>

  /**
   * Replaces a value by what `change` makes of it, {@link KEEP} or {@link DELETE}. `change` gets undefined for an
   * absent key; it is called without any lock held, and again if the key was written in between, be it by another
   * thread or by `change` itself, which must not do so each time; its error passes through and nothing changes. A present
   * entry keeps its expiry, a new one gets the `defaultTtl`. In a cluster it is atomic on this member only; hold the
   * lock to make it exclusive.
   *
   * @returns The entry afterwards, for DELETE the removed one, null if there is none.
   * @throws `invalid_value`, `invalid_argument`, `stale_fence`, `locked`, `conflict`, `limit`
   */
  update<T = Value>(
    key: Key,
    change: (value: T | undefined) => Storable | typeof KEEP | typeof DELETE,
    options?: WriteOptions | null,
  ): Entry<T> | null

  /**
   * The entry of a key; an absent one is computed by one caller, for whom the others in this process wait. An error of
   * `compute` passes through, and the next who waits computes. In a cluster one caller of each member may compute;
   * hold the lock to make it exclusive.
   *
   * Rejects with `invalid_value`, `invalid_argument` (also when called from within its own computation), `stale_fence`,
   * `conflict`, `limit`, or the signal's reason.
   */
  getOrPut<T = Value>(
    key: Key,
    compute: () => Storable | PromiseLike<Storable>,
    options?: GetOrPutOptions | null,
  ): Promise<Entry<T>>

  /** The entries of many keys, in the order asked; null for an absent one. */
  getMany<T = Value>(keys: Iterable<Key>): (Entry<T> | null)[]

  /**
   * Stores many values, all or none; returns the entries in the order given. Of a key given twice the last value counts.
   *
   * @throws As `put`.
   */
  putMany<T = Value>(items: Iterable<readonly [Key, Storable]>, options?: PutOptions | null): Entry<T>[]

  /**
   * Removes many entries, all or none; returns the removed ones in the order given, null where there was none.
   *
   * @throws As `delete`.
   */
  deleteMany<T = Value>(keys: Iterable<Key>, options?: WriteOptions | null): (Entry<T> | null)[]

  /**
   * The keys, in no order, each once; or a page of them.
   *
   * @throws `invalid_argument`
   */
  keys(options: ListOptions & { raw: true }): Page<Buffer>
  keys(options?: Prefix | ListOptions | null): Page<string | Buffer>

  /**
   * The entries, in no order, each key once; or a page of them.
   *
   * @throws `invalid_argument`
   */
  entries<T = Value>(options?: Prefix | ListOptions | null): Page<Entry<T>>

  /** How many keys start with `prefix`; without one, all. */
  count(prefix?: Prefix | null): number

  /**
   * Removes the entries whose keys start with `prefix` and that nobody else has locked; returns how many.
   *
   * @throws `invalid_argument`
   */
  clear(prefix?: Prefix | null, options?: WriteOptions | null): number

  /** A digest of all keys and values, as text: equal contents have equal digests, in every process and language. */
  digest(): string

  /** Counts of what the registry holds and does. */
  stats(): Stats

  /** The options in force; `new Registry(kv.options())` starts another like it. */
  options(): OptionsInForce

  /**
   * Watches the keys that start with a prefix, one key, or all. Subscribed when it returns.
   *
   * @throws `invalid_argument`, `limit` (`maxWatchers`); the reason of a signal that is aborted already.
   */
  watch<T = Value>(options?: Prefix | WatchOptions | null): Watch<T>

  /** Whether the first sync with the cluster is done, so that reads see what the others had; without a cluster always. */
  ready(): boolean

  /**
   * Waits until the first sync with the cluster is done; without a cluster it is.
   *
   * @param timeout Waits at most this long. Default Infinity.
   *
   * Rejects with `timeout`, whose message tells how far it is; `cluster` if this member could not join, such as for a
   * live member of the same node name; `invalid_argument`, or the signal's reason.
   */
  waitSynced(timeout?: Duration | null, options?: Abortable | null): Promise<void>

  /** The members of the cluster, sorted by node, then incarnation; without a cluster this one. */
  members(): Member[]

  /** Where other members can dial this one, with the true ports; without a cluster nowhere. */
  endpoints(): string[]

  /**
   * Moves a manual clock on by so many ms. Every expiry, lease end, renewal and elapsed wait on the way is processed,
   * in order of time, before it returns.
   *
   * @throws `invalid_argument`, also on a system clock.
   */
  advance(ms: Duration): void

  /**
   * Locks a present key and gives the entry; null if it is absent. With `put` it stores the value and locks in one
   * step. With `wait` it waits in the queue for the lock, and the process stays alive as long.
   *
   * In a cluster another member is asked, also without a wait: that takes a round trip, and up to two failure timeouts
   * longer than the wait if nobody answers, which is then `cluster`.
   *
   * Rejects with `invalid_value`, `invalid_argument`, `stale_fence`, `locked`, `conflict`, `limit`, or the signal's reason.
   */
  lock<T = Value>(key: Key, options: LockPutOptions & { put: Exclude<Storable, undefined> }): Promise<Entry<T>>
  lock<T = Value>(key: Key, options?: LockPutOptions | null): Promise<Entry<T> | null>

  /**
   * Locks a key for the time that `body` takes. Without `owner` it excludes everyone else, other callers of this
   * thread included. It resolves to what `body` gives; if the lock was lost meanwhile it rejects with `lock_lost`, or
   * with the error of `body`, which comes first. Without `body` it gives the lock itself:
   *
   * ```ts
   * await using held = await kv.locked('balance', { wait: 5000 })
   * held.put(90)
   * ```
   *
   * Rejects with `not_found` if the key is absent (unless `create`), `invalid_argument`, `stale_fence`, `locked`,
   * `conflict`, `limit`, or the signal's reason.
   */
  locked<R, T = Value>(key: Key, body: (held: Held<T>) => R | PromiseLike<R>): Promise<R>
  locked<R, T = Value>(
    key: Key,
    options: LockedOptions | null | undefined,
    body: (held: Held<T>) => R | PromiseLike<R>,
  ): Promise<R>
  locked<T = Value>(key: Key, options?: LockedOptions | null): Promise<Held<T>>

  /**
   * Stops the registry for all threads; once more is fine. Waiting calls and all later ones get `stopped`. A member of a
   * cluster sends first what is still to be sent and says good-bye, which may take some seconds if the others do not
   * take it.
   */
  stop(): Promise<void>

  /** Stops the registry that this handle started; one from `open` gives only itself back. */
  [Symbol.dispose](): void
  /** As `Symbol.dispose`, and waits for it. */
  [Symbol.asyncDispose](): Promise<void>
}
