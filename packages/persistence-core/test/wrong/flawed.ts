import {
  type BaseBackendOptions,
  claimEntry,
  type DispatchEntry,
  decodeInstance,
  type HeldClaim,
  type InstanceRecord,
  type InstanceStore,
} from '../../src/adapter.ts'
import type { ContractHarness, LeastPrivileges } from '../../src/contract/index.ts'
import type {
  BackendOptions,
  ClaimTaskParams,
  CompletedTasks,
  PersistentBackend,
  TaskClaim,
  TaskClaimRef,
  WorkflowSnapshot,
} from '../../src/index.ts'
import { KeyValueBackend, KeyValueStore } from '../key-value-backend.ts'

/** How far the store's clock is ahead of the process's. */
export const SKEW_MS = 3_600_000

/** A backend with one thing wrong, which the suite must catch under the rule that it breaks. */
export interface WrongBackend {
  readonly name: string
  readonly breaks: string
  /** Whether the store's clock moves only when the suite moves it: for a flaw that shows for one millisecond. */
  readonly stopped?: boolean
  readonly leastPrivileges?: LeastPrivileges
  connect(
    namespace: string,
    options?: BackendOptions,
    clock?: StoreClock,
  ): Promise<PersistentBackend>
}

/** A store's clock, an hour ahead of the process's: a worker's own clock is always wrong. */
export class StoreClock {
  readonly #stoppedAt: number | null
  #aheadMs = SKEW_MS

  constructor(stopped = false) {
    this.#stoppedAt = stopped ? Date.now() : null
  }

  now(): number {
    return (this.#stoppedAt ?? Date.now()) + this.#aheadMs
  }

  elapse(ms: number): void {
    this.#aheadMs += ms
  }
}

/** The one thing: a setting, a primitive, a record on its way in or out, or a method. */
export interface Flaw {
  /** The options that the backend works with. */
  options?(options: BaseBackendOptions): BaseBackendOptions
  /** Primitives in place of the store's. */
  store?(right: InstanceStore): Partial<InstanceStore>
  /** A record on its way into the store. */
  written?(after: InstanceRecord, before: InstanceRecord | null): InstanceRecord
  /** A record on its way out. */
  read?(record: InstanceRecord): InstanceRecord
  /** The same, only where all instances are looked through: for listings, and to find tasks. */
  scanned?(record: InstanceRecord, at: number): InstanceRecord
  /** Methods in place of the backend's. */
  methods?(right: PersistentBackend, store: InstanceStore): Partial<PersistentBackend>
}

class FlawedBackend extends KeyValueBackend {
  declare protected readonly store: InstanceStore

  constructor(
    keyValues: KeyValueStore,
    clock: StoreClock,
    options: BaseBackendOptions,
    flaw: Flaw,
  ) {
    super(keyValues, options)
    this.store = flawedStore({ ...this.store, now: async () => clock.now() }, flaw)
  }

  get primitives(): InstanceStore {
    return this.store
  }
}

function flawedStore(right: InstanceStore, { store, written, read, scanned }: Flaw): InstanceStore {
  const base = { ...right, ...store?.(right) }
  const out = read ?? ((record: InstanceRecord) => record)
  return {
    ...base,
    readInstance: async (instanceId) => {
      const found = await base.readInstance(instanceId)
      return found === null ? null : { ...found, record: out(found.record) }
    },
    writeInstance: (record, version) => {
      const before = version === null ? null : decodeInstance(version as Uint8Array)
      return base.writeInstance(written === undefined ? record : written(record, before), version)
    },
    listInstances: async (after, limit) => {
      const at = await base.now()
      return (await base.listInstances(after, limit)).map((stored) => {
        const seen = out(stored.record)
        return { ...stored, record: scanned === undefined ? seen : scanned(seen, at) }
      })
    },
  }
}

/** A backend with this flaw. */
export function open(
  keyValues: KeyValueStore,
  clock: StoreClock,
  flaw: Flaw,
  options?: BackendOptions,
): PersistentBackend {
  const given = { ...options, pollIntervalMs: 10 }
  const right = new FlawedBackend(keyValues, clock, flaw.options?.(given) ?? given, flaw)
  const replaced = flaw.methods?.(right, right.primitives)
  if (replaced === undefined) return right
  return new Proxy<PersistentBackend>(right, {
    get: (_, key) => {
      const own = Reflect.get(replaced, key)
      if (own !== undefined) return own
      const value = Reflect.get(right, key)
      return typeof value === 'function' ? value.bind(right) : value
    },
  })
}

/** A wrong backend, on a store of its own. */
export function wrong(
  breaks: string,
  name: string,
  flaw: Flaw,
  { stopped = false }: { readonly stopped?: boolean } = {},
): WrongBackend {
  return {
    name,
    breaks,
    stopped,
    connect: async (_, options, clock = new StoreClock()) =>
      open(new KeyValueStore(), clock, flaw, options),
  }
}

/** How the suite starts one: the store's clock is moved, so that nothing waits for an expiry. */
export function harnessOf({
  name,
  stopped,
  leastPrivileges,
  connect,
}: WrongBackend): ContractHarness {
  const clock = new StoreClock(stopped)
  return {
    name,
    capabilities: {
      durable: false,
      shared: false,
      wakeups: 'poll',
      clock: 'store',
      order: 'global',
    },
    connect: (namespace, options) => connect(namespace, options, clock),
    elapse: async (ms) => clock.elapse(ms),
    ...(leastPrivileges === undefined ? undefined : { leastPrivileges }),
  }
}

/** The record with each of its dispatch entries changed. */
export function withEntries(
  record: InstanceRecord,
  change: (entry: DispatchEntry) => DispatchEntry,
): InstanceRecord {
  return { ...record, entries: record.entries.map(change) }
}

/** The claim on a task in this record. */
export function claimOn(record: InstanceRecord | null, taskId: string): HeldClaim | null {
  return record?.entries.find((entry) => entry.taskId === taskId)?.claim ?? null
}

/** Whoever holds the task now, named as if the caller were it. */
export async function asHolder(store: InstanceStore, ref: TaskClaimRef): Promise<TaskClaimRef> {
  const found = await store.readInstance(ref.instanceId)
  const holder = claimOn(found?.record ?? null, ref.taskId)
  return holder === null ? ref : { ...ref, workerId: holder.workerId, token: holder.token }
}

/** Replaces a record, whatever happens meanwhile. */
export async function replace(
  store: InstanceStore,
  instanceId: string,
  change: (record: InstanceRecord) => InstanceRecord,
): Promise<boolean> {
  for (;;) {
    const found = await store.readInstance(instanceId)
    if (found === null) return false
    if (await store.writeInstance(change(found.record), found.version)) return true
  }
}

/** Claims a runnable task without asking whether it may be. */
export async function claimAnyway(
  store: InstanceStore,
  { instanceId, taskId, workerId, ttlMs }: ClaimTaskParams,
): Promise<TaskClaim> {
  const at = await store.now()
  const expiresAt = ttlMs === null ? null : at + Math.ceil(ttlMs)
  const claim = { workerId, token: await store.nextToken(), claimedAt: at, expiresAt }
  await replace(store, instanceId, (record) =>
    withEntries(record, (entry) => (entry.taskId === taskId ? claimEntry(entry, claim) : entry)),
  )
  return { instanceId, taskId, ...claim }
}

/** The record with its results changed. */
export function withResults(
  record: InstanceRecord,
  change: (results: CompletedTasks) => CompletedTasks,
): InstanceRecord {
  const { state } = record.snapshot
  const changed = { ...state, completedTasks: change(state.completedTasks) }
  return { ...record, snapshot: { ...record.snapshot, state: changed } }
}

/** The record with its snapshot changed. */
export function withSnapshot(
  record: InstanceRecord,
  change: Partial<WorkflowSnapshot>,
): InstanceRecord {
  return { ...record, snapshot: { ...record.snapshot, ...change } }
}
