import {
  type CreateSnapshotParams,
  createSnapshot,
  type Next,
  type PendingTask,
  type Position,
  type TaskOutcome,
  type WorkflowSnapshot,
} from '@sayiir/persistence-core'

/** Bytes from text. */
export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** Text from bytes. */
export function text(payload: Uint8Array | null | undefined): string | null {
  return payload == null ? null : new TextDecoder().decode(payload)
}

/** A snapshot at a position, not stored. */
export function at(
  instanceId: string,
  position: Position,
  params: Partial<CreateSnapshotParams> = {},
): WorkflowSnapshot {
  return createSnapshot({
    instanceId,
    definitionHash: 'd',
    initialInput: bytes('in'),
    position,
    ...params,
  })
}

/** A snapshot at a task, not stored. */
export function atTask(
  instanceId: string,
  taskId = 'a',
  params: Partial<CreateSnapshotParams> = {},
): WorkflowSnapshot {
  return at(instanceId, { kind: 'at-task', taskId }, params)
}

/** A position at a fork of these tasks. */
export function forkOf(tasks: readonly PendingTask[]): Position {
  return {
    kind: 'at-fork',
    forkId: 'fork',
    pendingTasks: tasks,
    join: { taskId: 'join' },
    completedBranches: new Map(),
    wakeAt: null,
  }
}

/** The outcome of a task that completed. */
export function completed(next: Next, output = 'out'): TaskOutcome {
  return { kind: 'completed', output: bytes(output), next }
}

/** A whole number from 0 to below `limit`, the same sequence for the same seed. */
export function randomFrom(seed: number): (limit: number) => number {
  let state = seed
  return (limit) => {
    // A linear congruential generator (Numerical Recipes): good enough to pick commands.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
}
