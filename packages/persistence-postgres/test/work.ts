import { createSnapshot, type TaskOutcome, type WorkflowSnapshot } from '@sayiir/persistence-core'

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
