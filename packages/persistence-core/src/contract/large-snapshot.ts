import type { WorkflowSnapshot } from '../snapshot.ts'
import { completeTask, createSnapshot } from '../transitions.ts'

const RESULTS = 16
const RESULT_BYTES = 60_000

/** An instance whose every byte tells its version, and which is large enough for its write to be interrupted. */
export function largeSnapshot(instanceId: string, version: number): WorkflowSnapshot {
  const output = new Uint8Array(RESULT_BYTES).fill(version)
  let snapshot = createSnapshot({
    instanceId,
    definitionHash: 'definition-1',
    position: { kind: 'at-task', taskId: `version-${version}` },
  })
  for (let index = 0; index < RESULTS; index += 1) {
    snapshot = completeTask(snapshot, `task-${index}`, output)
  }
  return snapshot
}
