import { checkBytes } from './check.ts'
import { type AnySnapshot, positionOf } from './snapshot.ts'
import { completeTask, completeWorkflow, openState } from './transitions.ts'

const NOTHING = new Uint8Array(0)

/** An event that arrived for the signal that an instance is at. */
export interface ArrivedEvent {
  readonly payload: Uint8Array
}

/**
 * Goes on from a delay that is over, or from a signal whose event arrived or whose time is up. The
 * same object comes back where there is nothing to do: not at a delay or signal, not yet due, or
 * not in progress. An event wins over a time that is up: whoever calls decides whether it came first.
 *
 * @param at Epoch milliseconds by the store's clock.
 * @param lastOutput What a delay with nothing after it completes the workflow with. A whole
 * snapshot knows it; a head, which has no outputs, must be given it (see {@link lastOutputOf}).
 *
 * @example
 * ```ts
 * import { advance, type WorkflowSnapshot } from '@sayiir/persistence-core'
 *
 * const isDue = (snapshot: WorkflowSnapshot, now: number): boolean => advance(snapshot, now) !== snapshot
 * ```
 */
export function advance<S extends AnySnapshot>(
  snapshot: S,
  at: number,
  event?: ArrivedEvent,
  lastOutput?: Uint8Array,
): S {
  if (snapshot.state.status !== 'in-progress') return snapshot
  const { position } = snapshot.state
  switch (position.kind) {
    case 'at-delay':
      if (position.wakeAt > at) return snapshot
      return position.nextTaskId === null
        ? completeWorkflow(snapshot, lastOutput ?? lastOutputOf(snapshot))
        : toTask(snapshot, position.nextTaskId)
    case 'at-signal': {
      if (event === undefined && (position.wakeAt === null || position.wakeAt > at)) return snapshot
      const payload = event === undefined ? NOTHING : checkBytes(event.payload, 'payload')
      const signalled = completeTask(snapshot, position.signalId, payload)
      return position.nextTaskId === null
        ? completeWorkflow(signalled, payload)
        : toTask(signalled, position.nextTaskId)
    }
    default:
      return snapshot
  }
}

/** The last completed task's output, else the initial input, else 0 bytes. */
export function lastOutputOf(snapshot: AnySnapshot): Uint8Array {
  const { completedTasks, lastCompletedTaskId } = openState(snapshot)
  const last = lastCompletedTaskId === null ? undefined : completedTasks?.get(lastCompletedTaskId)
  return last?.output ?? snapshot.initialInput ?? NOTHING
}

/** When {@link advance} would move the instance by itself, or null. */
export function timerOf(snapshot: AnySnapshot): number | null {
  const position = positionOf(snapshot)
  return position?.kind === 'at-delay' || position?.kind === 'at-signal' ? position.wakeAt : null
}

/** The delay's or signal's task is the current one now; priority, tags and deadline were set for it before. */
function toTask<S extends AnySnapshot>(snapshot: S, taskId: string): S {
  return {
    ...snapshot,
    state: { ...openState(snapshot), position: { kind: 'at-task', taskId } },
  } as S
}
