/** A task's output. */
export interface TaskResult {
  readonly taskId: string
  readonly output: Uint8Array
}

/** By branch label: the last result of each finished branch. */
export type Branches = ReadonlyMap<string, TaskResult>

/** A task that a fork lets run now. */
export interface PendingTask {
  /** Unique among a fork's pending tasks. */
  readonly taskId: string
  /** The branch's label; by default the id of the branch's first task. */
  readonly branch?: string
  /**
   * The task whose output is this one's input; by default the last task completed when the fork
   * was stored, else the initial input.
   */
  readonly inputTaskId?: string
  /** 1 (most urgent) to 5, by default 3. */
  readonly priority?: number
  readonly tags?: readonly string[]
  /** Epoch milliseconds before which it is not due; by default due at once. */
  readonly availableAt?: number
}

/** What runs once every branch of a fork has finished. */
export interface JoinTask {
  readonly taskId: string
  readonly priority?: number
  readonly tags?: readonly string[]
}

/** Where an instance stands. Times are absolute, in epoch milliseconds by the store's clock. */
export type Position =
  | { readonly kind: 'not-started' }
  | { readonly kind: 'at-task'; readonly taskId: string }
  | {
      readonly kind: 'at-delay'
      readonly delayId: string
      readonly enteredAt: number
      readonly wakeAt: number
      /** Null: the workflow completes when the delay is over (rule E1). */
      readonly nextTaskId: string | null
    }
  | {
      readonly kind: 'at-signal'
      readonly signalId: string
      readonly signalName: string
      /** When waiting ends with an empty payload; null waits for ever. */
      readonly wakeAt: number | null
      /** Null: the workflow completes with the payload (rule E3). */
      readonly nextTaskId: string | null
    }
  | {
      readonly kind: 'at-fork'
      readonly forkId: string
      readonly pendingTasks: readonly PendingTask[]
      /** Required where there are pending tasks. */
      readonly join: JoinTask | null
      readonly completedBranches: Branches
      /** An engine's own; the store ignores it. */
      readonly wakeAt: number | null
    }
  | { readonly kind: 'at-join'; readonly joinId: string; readonly completedBranches: Branches }
  | {
      readonly kind: 'in-loop'
      readonly loopId: string
      /** Whole number, 0 or more. */
      readonly iteration: number
      readonly nextTaskId: string | null
    }

/** A pending task as a worker commits it: its delay is relative, because a worker's clock is not the store's. */
export interface NextPendingTask {
  readonly taskId: string
  readonly branch?: string
  /** By default the committed task. */
  readonly inputTaskId?: string
  readonly priority?: number
  readonly tags?: readonly string[]
  /** Milliseconds, 0 or more, from the commit. */
  readonly delayMs?: number
}

/** A position as a worker commits it: the store makes its times absolute. */
export type NextPosition =
  | { readonly kind: 'not-started' }
  | { readonly kind: 'at-task'; readonly taskId: string }
  | {
      readonly kind: 'at-delay'
      readonly delayId: string
      /** Milliseconds, 0 or more, from the commit. */
      readonly delayMs: number
      readonly nextTaskId: string | null
    }
  | {
      readonly kind: 'at-signal'
      readonly signalId: string
      readonly signalName: string
      /** Milliseconds, 0 or more, from the commit; null waits for ever. */
      readonly timeoutMs: number | null
      readonly nextTaskId: string | null
    }
  | {
      readonly kind: 'at-fork'
      readonly forkId: string
      readonly pendingTasks: readonly NextPendingTask[]
      readonly join: JoinTask | null
    }
  | { readonly kind: 'at-join'; readonly joinId: string; readonly completedBranches: Branches }
  | {
      readonly kind: 'in-loop'
      readonly loopId: string
      readonly iteration: number
      readonly nextTaskId: string | null
    }
