import type { Maintenance } from './maintenance.ts'
import type { SignalStore } from './signal-store.ts'
import type { SnapshotStore } from './snapshot-store.ts'
import type { TaskClaimStore } from './task-claim-store.ts'
import type { TaskResultStore } from './task-result-store.ts'

/** Every call can be given up. */
export interface Abortable {
  /** When it aborts, the call rejects with its reason; whether a write landed is then unknown. */
  readonly signal?: AbortSignal
}

/** What a backend promises, as data: for programs that choose by it, and for the contract suite. */
export interface Capabilities {
  /** What was acknowledged survives the end of the process. */
  readonly durable: boolean
  /** Several processes can work on one store. */
  readonly shared: boolean
  /** How `waitForWakeup` learns of work: the store tells, or it is asked again and again. */
  readonly wakeups: 'push' | 'poll'
  /** Who judges times: the store, or the client with at most this error. */
  readonly clock: 'store' | { readonly maxErrorMs: number }
  /** Whether tasks are ordered over the whole store or only within a shard. */
  readonly order: 'global' | 'shard'
}

/** Options that every backend takes, under the same names. */
export interface BackendOptions {
  /** Milliseconds of waiting that are worth one level of priority; more than 0, by default 300,000. */
  readonly agingIntervalMs?: number
  /** Bytes of a single payload at most, 1 or more; by default 16 MiB (16,777,216). */
  readonly maxPayloadBytes?: number
}

/**
 * Durable storage of workflow instances. What every method does on every store is docs/contract.md;
 * that a backend does it is proven by the suite in `@sayiir/persistence-core/contract`.
 *
 * Each call checks in this order: arguments (`TypeError`/`RangeError`, before any I/O), `CLOSED`,
 * abort, `NOT_FOUND`, a repeated commit, `TERMINAL`, `CLAIM_LOST`, `CONFLICT`.
 */
export interface PersistentBackend
  extends SnapshotStore,
    TaskResultStore,
    SignalStore,
    TaskClaimStore,
    Maintenance,
    AsyncDisposable {
  /** Such as `sqlite`. */
  readonly name: string
  readonly capabilities: Capabilities
  /**
   * Ends waits with null and open listings with `CLOSED`, lets other running calls finish, and
   * closes the client if the backend opened it. May be called again.
   */
  close(): Promise<void>
}
