import type { CommitRecord, DispatchEntry, HeldClaim, Prolongation } from '../dispatch.ts'
import type { BackendStats, PruneParams, PruneResult } from '../maintenance.ts'
import type { PendingSignals } from '../pending-signals.ts'
import type { TaskResult } from '../position.ts'
import type { InstanceStatus, SnapshotHead, SnapshotSummary } from '../snapshot.ts'
import type {
  ClaimTaskParams,
  TaskClaimRef,
  TaskWakeup,
  WaitForWakeupParams,
  WorkerFilter,
} from '../task-claim-store.ts'

/**
 * One instance as a store keeps it: all but its outputs, its queued events and the records of its
 * commits, so small whatever came before (rule S6).
 */
export interface StoredInstance extends PendingSignals {
  /** Names this life of the instance id: another one after delete and create. */
  readonly generation: string
  /** 1 when created, one more with every write and every event taken, but not with what happens to claims: what a write compares. */
  readonly version: number
  /** Outputs of finished branches may be `STORED_ELSEWHERE`: under their task ids, among the results. */
  readonly head: SnapshotHead
  /** With the claims that they had when they were read. */
  readonly entries: readonly DispatchEntry[]
  /** Events that wait, of any name. */
  readonly queuedEvents: number
}

/** An output, and its place in the order of completion: larger is later, never equal within an instance. */
export interface StoredResult extends TaskResult {
  /** A safe integer. */
  readonly order: number
}

/** Which tasks a worker wants. */
export interface WorkRequest {
  readonly filter: WorkerFilter
  readonly workerId: string
  /** 1 to 1,000. */
  readonly limit: number
}

/** Which tasks to claim, and for how long. */
export interface ClaimRequest extends WorkRequest {
  /** Milliseconds; null never expires. */
  readonly ttlMs: number | null
}

/**
 * How a write changes an instance's dispatch entries. Claims and deliveries belong to the store:
 * what a write does not say of them stays as it is there, whatever was read before.
 *
 * Only entries of an open instance (see `isOpen`) are handed out, so a write by which an instance
 * opens or closes concerns all of its entries, also those that are not named here.
 */
export interface EntryChanges {
  /** Tasks whose entries go away, with their claims. */
  readonly removed: readonly string[]
  /** New entries, unclaimed and never delivered; one that is there under the task id is replaced, claim and all. */
  readonly added: readonly DispatchEntry[]
  /** Entries that get another place in the queue and keep their claims and deliveries. */
  readonly moved: readonly DispatchEntry[]
  /** Tasks whose claims are given up, while their entries stay. */
  readonly released: readonly string[]
}

/**
 * A change of an instance, worked out from what was read. The store writes all of it, or nothing,
 * in one atomic step and one round trip, and may write several of different instances together
 * (rule D10).
 */
export interface InstanceWrite {
  readonly instanceId: string
  /**
   * What is known of it beforehand, as of most writes, so that a store may have a shorter way for
   * them. `start`: a new instance that waits for one task, which may run at once, and has no results.
   * `commit`: the only task of an instance completed, which it must be held for (`holds` has the
   * token); there is one other task after it, which may run at once, or the end; nothing else
   * changes than that, the head, and this one result. Null: it may be anything.
   */
  readonly plain: 'start' | 'commit' | null
  /** What must still be there, by generation and version; null: there must be nothing. */
  readonly before: StoredInstance | null
  /** What is to be there. An ended instance has no entries, signals and events left, and the ids of its events are forgotten. */
  readonly after: StoredInstance
  /** What becomes of the dispatch entries; those that are not named stay as they are in the store. */
  readonly entries: EntryChanges
  /**
   * The time of the change, epoch milliseconds: what `after` and `entries` were worked out for and
   * have in `updatedAt` and the like; the store writes those as they are. It was taken from the
   * store's clock, by an earlier reply, and the store refuses the write where it is off from its
   * clock by more than `toleranceMs`: so no worker's clock decides anything.
   */
  readonly at: number
  readonly toleranceMs: number
  /** A claim that must be held, live or expired (rule C4); without a token by this worker. */
  readonly holds: TaskClaimRef | null
  /** Tasks whose results go away, before `results` are stored; `all`: those of every task. */
  readonly removedResults: readonly string[] | 'all'
  /** Outputs to store; one that is there under the same task id is replaced, order and all. */
  readonly results: readonly StoredResult[]
  /** The signal whose oldest queued event goes away. */
  readonly takenEvent: string | null
  /** An event that arrived: queued unless `payload` is null (it was delivered), its id remembered (rule E2). */
  readonly event: {
    readonly signalName: string
    readonly eventId: string | null
    readonly payload: Uint8Array | null
  } | null
  /** The commit that this is, to be remembered under its task (rule D6), with what `claimNext` brings. */
  readonly commit: (Omit<CommitRecord, 'next'> & { readonly taskId: string }) | null
  /** What to claim in the same step. */
  readonly claimNext: {
    /** The task of this instance to claim if it is free (see `isFree`); otherwise, and if null, the best of any instance. */
    readonly own: string | null
    readonly request: ClaimRequest
  } | null
}

/** A task that the store claimed, or found. */
export interface FoundTask {
  readonly instanceId: string
  readonly taskId: string
  /** The instance after it; left out where it is the one that was written in the same step. */
  readonly stored?: StoredInstance
  /** The output of the entry's `inputTaskId`; left out where the entry has none, there is none, or it was left to be read. */
  readonly input?: Uint8Array
  /** Outputs that the head refers to as stored elsewhere, by task; left out where they were left to be read. */
  readonly outputs?: ReadonlyMap<string, Uint8Array>
}

/** A task that the store claimed, with `claim` counted in `deliveries`. */
export interface ClaimedEntry extends FoundTask {
  readonly claim: HeldClaim
  readonly deliveries: number
}

/** What became of a write. */
export type WriteResult =
  | {
      readonly written: true
      /** The store's clock. */
      readonly now: number
      readonly next: ClaimedEntry | null
      /** With `claimNext`, as a look for work gives it (see {@link Dispatched}). */
      readonly due: readonly string[]
    }
  /** Something else is there, the claim is not held, or the clock is off. Nothing was written. */
  | { readonly written: false; readonly now: number }

/** Which part of a listing to read. */
export interface ListPage {
  /** The id that it starts after, or, with `inclusive`, at; null: the first. */
  readonly start: string | null
  readonly inclusive: boolean
  readonly limit: number
  /** Null: all. */
  readonly statuses: readonly InstanceStatus[] | null
  /** Null: all. */
  readonly definitionHashes: readonly string[] | null
}

/** What a look for work came to. */
export interface Dispatched<T extends FoundTask> {
  /** The store's clock. */
  readonly now: number
  /** Best first (rules D2–D4). The position may be a delay or signal that is over: whoever asked advances it. */
  readonly tasks: readonly T[]
  /**
   * Instances to be taken care of by whoever asked, a bounded number: with a pending control signal
   * and without a live claim (rule G4), or with a due entry of `TIMER_TASK_ID`.
   */
  readonly due: readonly string[]
}

/**
 * What a store must be able to do for an {@link OptimisticBackend}. Every method is one round trip
 * and atomic, and rejects with a `BackendError`: `UNAVAILABLE`, within a bounded time, where the
 * store can't be reached. Each that tells `now` reads the store's clock in that step.
 */
export interface OptimisticStore {
  /** The store's clock: epoch milliseconds. */
  now(): Promise<number>
  /** An instance; with `event`, also whether an event of that id was sent already. */
  read(
    instanceId: string,
    event?: { readonly signalName: string; readonly eventId: string },
  ): Promise<{
    readonly now: number
    readonly stored: StoredInstance | null
    readonly isKnownEvent: boolean
  }>
  /** An instance and all of its results in order. */
  readWhole(instanceId: string): Promise<{
    readonly now: number
    readonly stored: StoredInstance
    readonly results: readonly TaskResult[]
  } | null>
  /** Outputs of these tasks, where there are any. Null: there is no such instance. */
  readOutputs(
    instanceId: string,
    taskIds: readonly string[],
  ): Promise<ReadonlyMap<string, Uint8Array> | null>
  /** The payload of the oldest queued event of that name. */
  readEvent(instanceId: string, signalName: string): Promise<Uint8Array | null>
  /** What is remembered of a task's last commit: until the task is claimed again or the instance deleted. */
  readCommit(instanceId: string, taskId: string): Promise<CommitRecord | null>
  /**
   * The compare-and-set. Once a plain start has landed, what it was given may belong to the caller, who
   * may write into it: a store that keeps objects rather than what it makes of them has to copy those.
   */
  write(write: InstanceWrite): Promise<WriteResult>
  /** Takes the oldest queued event of that name away. */
  takeEvent(instanceId: string, signalName: string): Promise<Uint8Array | null>
  /** Removes everything of an instance; whether it was there. */
  remove(instanceId: string): Promise<boolean>

  /**
   * Claims one task: with `claimed`, where it is available. `missing`: no such instance.
   * `unavailable`: held, not runnable, not due, or its instance is not open (in progress, no control
   * signal pending). `timer`: it is available but for its position, which must be advanced first.
   */
  claimTask(params: ClaimTaskParams): Promise<
    | {
        readonly outcome: 'claimed'
        readonly claim: HeldClaim
        /** Saves a read when the task is committed. */
        readonly stored?: StoredInstance
      }
    | { readonly outcome: 'missing' | 'unavailable' | 'timer' }
  >
  /** Claims the best tasks; never one of `TIMER_TASK_ID`. Each claim forgets the task's commit record. */
  claimAvailable(request: ClaimRequest): Promise<Dispatched<ClaimedEntry>>
  /** As `claimAvailable`, without claiming. */
  findAvailable(request: WorkRequest): Promise<Dispatched<FoundTask>>
  /**
   * Gives up or prolongs a claim that is held, live or expired: `extend` from its expiry, or from
   * now if that has passed; `renew` from now. One that never expires stays so. Null: it is not held,
   * or the instance is not there or has ended.
   */
  changeClaim(
    ref: TaskClaimRef,
    change: { readonly kind: 'release' } | Prolongation,
  ): Promise<HeldClaim | null>
  /**
   * Resolves as `waitForWakeup` does, and with null when `closing` aborts; rejects when `signal`
   * aborts. Each look finds what is due as well, and hands it to `takeCare`, which tells whether that
   * may have brought work: then the next look is worth it at once.
   */
  waitForWakeup(
    params: WaitForWakeupParams,
    signal: AbortSignal | undefined,
    closing: AbortSignal,
    takeCare: (due: readonly string[]) => Promise<boolean>,
  ): Promise<TaskWakeup | null>

  /** A page of a listing: at most `limit` summaries, ascending by the UTF-8 bytes of the ids; fewer only at the end. */
  list(page: ListPage): Promise<readonly SnapshotSummary[]>
  /** Deletes, in bounded steps, until `signal` aborts (then rejects with its reason). */
  prune(params: Required<PruneParams>, signal: AbortSignal | undefined): Promise<PruneResult>
  stats(): Promise<BackendStats>
  /** Rejects unless the store answers and its schema is in order. */
  checkHealth(): Promise<void>
  /** Ends what `connect` opened, and connections of its own; not a client of the user's. */
  disconnect(): Promise<void>
}
