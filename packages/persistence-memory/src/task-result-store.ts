import {
  type Abortable,
  completeTask,
  type SaveTaskResultParams,
  type TaskResultStore,
} from '@sayiir/persistence-core'
import {
  checkAbortable,
  checkId,
  checkTaskResultParams,
  claimLost,
  copyBytes,
  isEnded,
  isHeldBy,
  terminal,
} from '@sayiir/persistence-core/adapter'
import { place, placed } from './records.ts'
import type { StoreContext } from './store-context.ts'

/** Single outputs. */
export class MemoryTaskResultStore implements TaskResultStore {
  readonly #context: StoreContext

  constructor(context: StoreContext) {
    this.#context = context
  }

  async saveTaskResult(params: SaveTaskResultParams, options?: Abortable): Promise<void> {
    const { lifecycle, maxPayloadBytes, records, now } = this.#context
    const { instanceId, taskId, output, claim } = checkTaskResultParams(params, maxPayloadBytes)
    return lifecycle.run(checkAbortable(options), () => {
      const record = records.require(instanceId)
      const { status } = record.snapshot.state
      if (isEnded(status)) throw terminal(instanceId, status)
      if (claim !== undefined && !isHeldBy(record.entries.get(claim.taskId), claim)) {
        throw claimLost(instanceId, claim.taskId)
      }
      const at = now()
      const completed = completeTask(record.snapshot, taskId, output)
      records.change(record, place(placed(record), completed, at), at)
    })
  }

  async loadTaskResult(
    instanceId: string,
    taskId: string,
    options?: Abortable,
  ): Promise<Uint8Array | null> {
    const { lifecycle, records } = this.#context
    checkId(instanceId, 'instanceId')
    checkId(taskId, 'taskId')
    return lifecycle.run(checkAbortable(options), () => {
      const result = records.require(instanceId).snapshot.state.completedTasks.get(taskId)
      return result === undefined ? null : copyBytes(result.output)
    })
  }
}
