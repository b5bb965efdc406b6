import {
  type ClaimedTask,
  createSnapshot,
  type PersistentBackend,
  type TaskOutcome,
  type WorkflowSnapshot,
} from '@sayiir/persistence-core'

/** Bytes from text. */
export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** A new instance at task `a`. */
export function atTask(instanceId: string, taskId = 'a'): WorkflowSnapshot {
  return createSnapshot({
    instanceId,
    definitionHash: 'definition-1',
    initialInput: bytes('in'),
    position: { kind: 'at-task', taskId },
  })
}

/** A task done; what follows, or the end. */
export function completed(output: string, next: string | null): TaskOutcome {
  return {
    kind: 'completed',
    output: bytes(output),
    next:
      next === null
        ? { finalOutput: bytes(output) }
        : { position: { kind: 'at-task', taskId: next } },
  }
}

/** Claims the only task that is available. */
export async function claimOne(
  backend: PersistentBackend,
  workerId = 'worker-1',
): Promise<ClaimedTask> {
  const [claimed] = await backend.claimAvailableTasks({ workerId, limit: 1, ttlMs: 60_000 })
  if (claimed === undefined) throw new Error('there is nothing to claim')
  return claimed
}

/** The error that a call fails with. */
export async function failureOf(call: Promise<unknown>): Promise<Error> {
  return call.then(
    (value) => {
      throw new Error(`it should have failed, and gave ${JSON.stringify(value)}`)
    },
    (error: Error) => error,
  )
}
