import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { NextPendingTask, Position } from '../position.ts'
import type { WorkflowSnapshot } from '../snapshot.ts'
import type {
  AvailableTask,
  ClaimNext,
  CommitReceipt,
  Next,
  TaskClaimRef,
} from '../task-claim-store.ts'
import { text } from './context.ts'
import { at, claim, completed, LONG_MS, WORKER } from './fixtures.ts'

/** What follows inside a fork: a task of the same branch, or null when the branch is finished. */
export function toBranch(task: string | NextPendingTask | null): Next {
  return { branch: typeof task === 'string' ? { taskId: task } : task }
}

/** Commits a claimed task as completed. */
export function commit(
  backend: PersistentBackend,
  held: TaskClaimRef,
  output: string,
  next: Next,
  claimNext?: ClaimNext,
): Promise<CommitReceipt> {
  const outcome = completed(output, next)
  return backend.commitTask(
    claimNext === undefined ? { claim: held, outcome } : { claim: held, outcome, claimNext },
  )
}

/** Claims a task that must be free, and commits it as completed. */
export async function run(
  backend: PersistentBackend,
  instanceId: string,
  taskId: string,
  output: string,
  next: Next,
): Promise<CommitReceipt> {
  return commit(backend, await claim(backend, instanceId, taskId), output, next)
}

/** The instance's position; it must be in progress or paused. */
export async function positionIn(
  backend: PersistentBackend,
  instanceId: string,
): Promise<Position> {
  return placeOf(await backend.loadSnapshot(instanceId))
}

/** The snapshot's position; it must be in progress or paused. */
export function placeOf({ state }: WorkflowSnapshot): Position {
  if (!('position' in state))
    expect.fail(`expected a position, but the instance is ${state.status}`)
  return state.position
}

/** Outputs by task id, as text, in order of completion. */
export function outputsOf(snapshot: WorkflowSnapshot): [string, string | null][] {
  return [...snapshot.state.completedTasks].map(([id, { output }]) => [id, text(output)])
}

/** The available tasks of an instance by id, as any worker finds them. */
export async function tasksOf(
  backend: PersistentBackend,
  instanceId: string,
  workerId: string = WORKER,
): Promise<Map<string, AvailableTask>> {
  const tasks = await backend.findAvailableTasks({ workerId, limit: 1000 })
  return new Map(
    tasks.filter((task) => task.instanceId === instanceId).map((task) => [task.taskId, task]),
  )
}

/**
 * Milliseconds by which `storeTime` may be behind the store's clock: a change may carry a time of a
 * moment before, if the store refuses one that is far off.
 */
export const BEHIND_MS = 250

/** The store's time, told by a save that changes nothing else. */
export async function storeTime(backend: PersistentBackend): Promise<number> {
  const { updatedAt } = await backend.saveSnapshot(at('the-clock', { kind: 'not-started' }))
  return updatedAt
}

/** Claims without end for whatever comes. */
export const CLAIM_NEXT: ClaimNext = { ttlMs: LONG_MS }

/** The results of calls made at the same time, one for each index. */
export function together<T>(count: number, call: (index: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => call(index)))
}
