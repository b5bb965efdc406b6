import type { Abortable } from './backend.ts'
import type { InstanceStatus, SnapshotSummary, WorkflowSnapshot } from './snapshot.ts'
import type { TaskClaimRef } from './task-claim-store.ts'

/** Conditions of a save, checked in the same atomic step as the write. */
export interface SaveOptions extends Abortable {
  /** Lands only at this revision, else `CONFLICT`; 0: only if it is not there yet. Left out: overwrites, except with `claim`. */
  readonly expectedRevision?: number
  /** Lands only while this claim is held, else `CLAIM_LOST`; `expectedRevision` is then by default the snapshot's own revision. */
  readonly claim?: TaskClaimRef
  /** Gives `claim` up in the same step. */
  readonly release?: boolean
}

/** Which instances a listing shows. An empty array matches nothing. */
export interface ListFilter extends Abortable {
  readonly status?: InstanceStatus | readonly InstanceStatus[]
  readonly definitionHash?: string | readonly string[]
  /** Ids that start with this. */
  readonly prefix?: string
  /** Ids that come after this one: where an earlier listing ended. */
  readonly after?: string
  /** Summaries in total, 1 or more; by default all. */
  readonly limit?: number
}

/** Stores and finds whole snapshots. Rules S1–S10. */
export interface SnapshotStore {
  /**
   * Stores the complete state of an instance, atomically. Overwrites by default; `expectedRevision`
   * makes it a compare-and-set, `claim` a fenced one. Outputs that are stored already are not
   * written again.
   *
   * @returns the stored snapshot, with its new revision and the store's times. When an event was
   * waiting for the signal that the snapshot is parked at, the instance has already gone on.
   * @throws `TypeError`/`RangeError` for a malformed snapshot, `PAYLOAD_TOO_LARGE`, `NOT_FOUND`
   * (with `claim`, on an unknown instance), `TERMINAL`, `CLAIM_LOST`, `CONFLICT`.
   *
   * @example
   * ```ts
   * import { completeTask, moveTo, type PersistentBackend } from '@sayiir/persistence-core'
   *
   * async function charge(backend: PersistentBackend): Promise<void> {
   *   const before = await backend.loadSnapshot('order-1')
   *   const charged = completeTask(before, 'charge', new TextEncoder().encode('{"ok":true}'))
   *   await backend.saveSnapshot(moveTo(charged, { kind: 'at-task', taskId: 'ship' }), {
   *     expectedRevision: before.revision,
   *   })
   * }
   * ```
   */
  saveSnapshot(snapshot: WorkflowSnapshot, options?: SaveOptions): Promise<WorkflowSnapshot>
  /**
   * Loads a whole snapshot.
   *
   * @throws `NOT_FOUND`, `SERIALIZATION` if what is stored can't be read.
   */
  loadSnapshot(instanceId: string, options?: Abortable): Promise<WorkflowSnapshot>
  /**
   * Deletes everything of an instance: results, claims, signals, events.
   *
   * @throws `NOT_FOUND`
   */
  deleteSnapshot(instanceId: string, options?: Abortable): Promise<void>
  /**
   * Streams summaries in ascending order of instance id (by UTF-8 bytes), a page at a time. What
   * exists throughout the listing is listed exactly once.
   *
   * @throws (at the first step) `TypeError`/`RangeError` for a wrong filter; `CLOSED` if the
   * backend is closed meanwhile.
   *
   * @example
   * ```ts
   * import type { PersistentBackend } from '@sayiir/persistence-core'
   *
   * async function printFailed(backend: PersistentBackend): Promise<void> {
   *   for await (const { instanceId, updatedAt } of backend.listSnapshots({ status: 'failed', limit: 100 })) {
   *     console.log(instanceId, new Date(updatedAt).toISOString())
   *   }
   * }
   * ```
   */
  listSnapshots(filter?: ListFilter): AsyncIterable<SnapshotSummary>
}
