import { later } from './check.ts'
import { type HeldClaim, isLive } from './dispatch.ts'
import { BackendError, notFound, quote } from './errors.ts'
import { claimTask, entryOf, type InstanceRecord } from './instance.ts'

/** What is stored of an instance, with what tells that it has not been replaced since. */
export interface Versioned {
  readonly instanceId: string
  /** Whatever the store compares: an ETag, a revision, the bytes themselves. */
  readonly version: unknown
  /**
   * The record. Better a getter: what can not be read (it is damaged, or a newer version wrote it)
   * throws `SERIALIZATION` or `SCHEMA` then only to who needs this one, and holds up no other.
   */
  readonly record: InstanceRecord
}

/**
 * What a store must be able to do for {@link BaseBackend}: seven primitives, of which one,
 * `writeInstance`, is atomic. `encodeInstance` turns a record into bytes, `storedInstance` tells of those
 * that the store has.
 */
export interface InstanceStore {
  /** The record, or null. What it gives is at least as new as what was last written or read here. */
  readInstance(instanceId: string): Promise<Versioned | null>
  /**
   * The compare-and-set that everything rests on: stores the record if what is there still has
   * this version (null: if nothing is there), durably, all of it or nothing.
   *
   * @returns whether it did.
   */
  writeInstance(record: InstanceRecord, version: unknown): Promise<boolean>
  /** Deletes the record if it still has this version. */
  removeInstance(instanceId: string, version: unknown): Promise<boolean>
  /** At most `limit` instances in ascending order of their ids by UTF-8 bytes, those after `after`. */
  listInstances(after: string | null, limit: number): Promise<readonly Versioned[]>
  /** A number larger than any that it gave before, to anybody, ever: fencing tokens come from it. */
  nextToken(): Promise<number>
  /** The store's clock: epoch milliseconds. */
  now(): Promise<number>
  /** Ends what `connect` opened; nothing for a client of the user's. */
  disconnect(): Promise<void>
}

/** What a change of an instance comes to: the next record (the same one: nothing to write), and the reply. */
export interface Step<T> {
  readonly after: InstanceRecord
  readonly reply: T
}

/** Replacements that lose this often in a row mean that the store's compare-and-set does not work. */
const MAX_TRIES = 10_000

/**
 * Changes an instance: reads it, computes, writes if nobody was faster, else again.
 *
 * @throws `NOT_FOUND`, and what `step` throws.
 */
export function update<T>(
  store: InstanceStore,
  instanceId: string,
  step: (before: InstanceRecord, at: number) => Step<T> | Promise<Step<T>>,
): Promise<T> {
  return upsert(store, instanceId, (before, at) => {
    if (before === null) throw notFound(instanceId)
    return step(before, at)
  })
}

/** As {@link update}, for an instance that need not be there. */
export async function upsert<T>(
  store: InstanceStore,
  instanceId: string,
  step: (before: InstanceRecord | null, at: number) => Step<T> | Promise<Step<T>>,
): Promise<T> {
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const read = await store.readInstance(instanceId)
    const before = read?.record ?? null
    const { after, reply } = await step(before, await store.now())
    if (after === before || (await store.writeInstance(after, read?.version ?? null))) return reply
  }
  throw new BackendError(
    'UNAVAILABLE',
    `instance ${quote(instanceId)} is changed by too many at once; try again later`,
    {
      instanceId,
    },
  )
}

/** Claims a task if it is available, with a token of its own for each try (rule C3). */
export async function claimWith(
  store: InstanceStore,
  before: InstanceRecord,
  taskId: string,
  { workerId, ttlMs }: { readonly workerId: string; readonly ttlMs: number | null },
  at: number,
): Promise<Step<HeldClaim | null>> {
  if (isLive(entryOf(before, taskId)?.claim ?? null, at)) return { after: before, reply: null }
  const claim: HeldClaim = {
    workerId,
    token: await store.nextToken(),
    claimedAt: at,
    expiresAt: ttlMs === null ? null : later(at, ttlMs),
  }
  const after = claimTask(before, taskId, claim, at)
  return after === null ? { after: before, reply: null } : { after, reply: claim }
}
