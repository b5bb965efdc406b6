import type { Abortable } from './backend.ts'
import type { EndedStatus, InstanceStatus } from './snapshot.ts'

/** Which ended instances to delete. */
export interface PruneParams {
  /** Epoch milliseconds: those that ended before this, not at it. */
  readonly endedBefore: number
  /** By default all ended statuses; `[]` matches nothing. */
  readonly statuses?: readonly EndedStatus[]
  /** Instances at most in this call, 1 or more; by default 1,000. */
  readonly limit?: number
  /** Only counts what it would delete. */
  readonly dryRun?: boolean
}

/** What `prune` did. */
export interface PruneResult {
  /** Instances deleted, or, with `dryRun`, that would be. */
  readonly deleted: number
  /** Whether more are waiting: call again. */
  readonly more: boolean
}

/** Numbers for a dashboard. */
export interface BackendStats {
  readonly byStatus: Readonly<Record<InstanceStatus, number>>
  /** Tasks that may run now and are not claimed. */
  readonly available: number
  /** Live claims on runnable tasks. */
  readonly claimed: number
  /** Milliseconds that the oldest available task has waited; null if there is none. */
  readonly oldestAvailableAgeMs: number | null
}

/** Keeps a store small and tells how it does. Rule M1. */
export interface Maintenance {
  /**
   * Deletes instances that ended before a time, in bounded batches; stops at an abort, keeping what
   * it has done. Never touches one that is not ended.
   *
   * @example
   * ```ts
   * import type { PersistentBackend } from '@sayiir/persistence-core'
   *
   * async function pruneMonthOld(backend: PersistentBackend): Promise<void> {
   *   const endedBefore = Date.now() - 30 * 24 * 3_600_000
   *   while ((await backend.prune({ endedBefore })).more);
   * }
   * ```
   */
  prune(params: PruneParams, options?: Abortable): Promise<PruneResult>
  stats(options?: Abortable): Promise<BackendStats>
  /**
   * Resolves if the store answers and its schema is right.
   *
   * @throws `UNAVAILABLE`, `SCHEMA`, `CLOSED`.
   */
  checkHealth(options?: Abortable): Promise<void>
}
