import {
  BackendError,
  createSnapshot,
  type TaskOutcome,
  type WorkflowSnapshot,
} from '@sayiir/persistence-core'
import { expect } from 'vitest'

let schemas = 0

/** A schema that no other test has. */
export function freshSchema(): string {
  schemas += 1
  return `t${process.pid.toString(36)}_${Date.now().toString(36)}_${schemas}`
}

/** A new instance at its first task. */
export function atTask(instanceId: string): WorkflowSnapshot {
  const position = { kind: 'at-task', taskId: 'a' } as const
  return createSnapshot({ instanceId, definitionHash: 'd', position })
}

/** An outcome that ends the workflow. */
export const END: TaskOutcome = {
  kind: 'completed',
  output: new Uint8Array([1]),
  next: { finalOutput: new Uint8Array([2]) },
}

/** Waits until something holds. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 10))
}

/** The code of a call's error, which must come within a bounded time. */
export async function codeOf(call: Promise<unknown>): Promise<string> {
  const started = performance.now()
  const error = await call.then(
    () => null,
    (reason: unknown) => reason,
  )
  expect(performance.now() - started).toBeLessThan(10_000)
  if (!BackendError.is(error)) throw error ?? new Error('the call did not fail')
  return error.code
}
