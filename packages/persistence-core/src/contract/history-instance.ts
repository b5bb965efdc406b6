import type { SignalKind } from '../signal-store.ts'
import type { InstanceStatus } from '../snapshot.ts'
import type { TaskClaimRef } from '../task-claim-store.ts'

/** Where an instance stands; a delay or signal is `over` once its time is up. */
export type Place =
  | { readonly kind: 'task'; readonly task: string }
  | { readonly kind: 'loop'; readonly round: number; readonly task: string }
  | {
      readonly kind: 'delay'
      readonly over: boolean
      readonly task: string | null
      readonly input: string | null
    }
  | { readonly kind: 'signal'; readonly over: boolean; readonly task: string | null }
  | {
      readonly kind: 'fork'
      /** Branch label by pending task. */
      readonly pending: ReadonlyMap<string, string>
      readonly done: ReadonlyMap<string, string>
    }
  | { readonly kind: 'join'; readonly done: ReadonlyMap<string, string> }

/** A claim that was made. */
export type ModelClaim = Required<TaskClaimRef>

/** A task that may run, held or not. */
export interface Task {
  /** Whose output is its input; null: the initial input. */
  readonly input: string | null
  deliveries: number
  claim: ModelClaim | null
  live: boolean
}

/** How often a task has failed. */
interface Retry {
  readonly attempts: number
  readonly worker: string
  /** Whether it waits for longer than any test. */
  readonly later: boolean
}

/** A commit, as it is answered when it is repeated. */
export interface Committed {
  readonly workerId: string
  readonly token: number
  readonly revision: number
  readonly status: InstanceStatus
  next: ModelClaim | null
}

/** All there is of an instance. */
export interface Instance {
  readonly id: string
  revision: number
  status: InstanceStatus
  place: Place | null
  /** The final output, the error, or the reason. */
  text: string | null
  results: Map<string, string>
  last: string | null
  retries: Map<string, Retry>
  rounds: Map<string, number>
  tasks: Map<string, Task>
  readonly signals: Map<SignalKind, string>
  readonly events: Map<string, string[]>
  readonly eventIds: Set<string>
  readonly commits: Map<string, Committed>
}

/** A task that may be handed out. */
export interface Available {
  readonly instance: Instance
  readonly taskId: string
  readonly input: string
  readonly attempt: number
  readonly deliveries: number
  readonly failedBy: string | null
  readonly branches: ReadonlyMap<string, string>
}
