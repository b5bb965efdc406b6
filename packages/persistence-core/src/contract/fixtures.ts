import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { PendingTask, Position } from '../position.ts'
import type { WorkflowSnapshot } from '../snapshot.ts'
import type { ClaimedTask, Next, TaskClaim, TaskOutcome } from '../task-claim-store.ts'
import { type CreateSnapshotParams, createSnapshot } from '../transitions.ts'
import { bytes } from './context.ts'

/** A worker that most tests use. */
export const WORKER = 'worker-1'
/** Long enough that no test sees it expire. */
export const LONG_MS = 600_000
/** Short enough to be waited for, and long enough that the call after it still finds it live. */
export const SHORT_MS = 60

/** A snapshot of an instance at a task, not stored. */
export function atTask(
  instanceId: string,
  taskId = 'a',
  params: Partial<CreateSnapshotParams> = {},
): WorkflowSnapshot {
  return at(instanceId, { kind: 'at-task', taskId }, params)
}

/** A snapshot of an instance at a position, not stored. */
export function at(
  instanceId: string,
  position: Position,
  params: Partial<CreateSnapshotParams> = {},
): WorkflowSnapshot {
  return createSnapshot({
    instanceId,
    definitionHash: 'definition-1',
    initialInput: bytes('in'),
    position,
    ...params,
  })
}

/** A snapshot of an instance at a fork of these tasks, joined by `join`. */
export function atFork(
  instanceId: string,
  pending: readonly (string | PendingTask)[],
  params: Partial<CreateSnapshotParams> = {},
): WorkflowSnapshot {
  return at(
    instanceId,
    {
      kind: 'at-fork',
      forkId: 'fork',
      pendingTasks: pending.map((task) => (typeof task === 'string' ? { taskId: task } : task)),
      join: { taskId: 'join' },
      completedBranches: new Map(),
      wakeAt: null,
    },
    params,
  )
}

/** Claims a task that must be free. */
export async function claim(
  backend: PersistentBackend,
  instanceId: string,
  taskId = 'a',
  options: { readonly workerId?: string; readonly ttlMs?: number | null } = {},
): Promise<TaskClaim> {
  const { workerId = WORKER, ttlMs = LONG_MS } = options
  const won = await backend.claimTask({ instanceId, taskId, workerId, ttlMs })
  if (won === null) expect.fail(`task ${taskId} of ${instanceId} should be free to claim`)
  return won
}

/** Claims the one task that is available. */
export async function claimOne(
  backend: PersistentBackend,
  workerId: string = WORKER,
): Promise<ClaimedTask> {
  const claimed = await backend.claimAvailableTasks({ workerId, limit: 10, ttlMs: LONG_MS })
  expect(claimed).toHaveLength(1)
  return claimed[0] as ClaimedTask
}

/** The outcome of a task that completed. */
export function completed(output: string, next: Next): TaskOutcome {
  return { kind: 'completed', output: bytes(output), next }
}

/** What follows: a task. */
export function toTask(taskId: string): Next {
  return { position: { kind: 'at-task', taskId } }
}

/** What follows: the end. */
export function toEnd(output: string): Next {
  return { finalOutput: bytes(output) }
}

/** `instance/task` of each task that a worker would find, in order. */
export async function found(
  backend: PersistentBackend,
  params: {
    readonly workerId?: string
    readonly limit?: number
    readonly tags?: readonly string[]
    readonly definitionHashes?: readonly string[]
  } = {},
): Promise<string[]> {
  const tasks = await backend.findAvailableTasks({ workerId: WORKER, limit: 1000, ...params })
  return tasks.map(({ instanceId, taskId }) => `${instanceId}/${taskId}`)
}
