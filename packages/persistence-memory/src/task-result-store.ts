import { completeTask, type SaveTaskResultParams } from '@sayiir/persistence-core'
import {
  claimLost,
  copyBytes,
  isEnded,
  isHeldBy,
  type TaskResultCalls,
  terminal,
} from '@sayiir/persistence-core/adapter'
import { place, placed } from './records.ts'
import type { StoreContext } from './store-context.ts'

/** Single outputs. */
export class MemoryTaskResultStore implements TaskResultCalls {
  readonly #context: StoreContext

  constructor(context: StoreContext) {
    this.#context = context
  }

  saveTaskResult({ instanceId, taskId, output, claim }: SaveTaskResultParams): void {
    const { records, now } = this.#context
    const record = records.require(instanceId)
    const { status } = record.snapshot.state
    if (isEnded(status)) throw terminal(instanceId, status)
    if (claim !== undefined && !isHeldBy(record.entries.get(claim.taskId), claim)) {
      throw claimLost(instanceId, claim.taskId)
    }
    const at = now()
    const completed = completeTask(record.snapshot, taskId, output)
    records.change(record, place(placed(record), completed, at), at)
  }

  loadTaskResult(instanceId: string, taskId: string): Uint8Array | null {
    const { snapshot } = this.#context.records.require(instanceId)
    const result = snapshot.state.completedTasks.get(taskId)
    return result === undefined ? null : copyBytes(result.output)
  }
}
