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
  notFound,
} from '@sayiir/persistence-core/adapter'
import { InstanceEdit } from './instance-edit.ts'
import { readResult, readStatus } from './records.ts'
import type { Store } from './store.ts'

/** Single outputs in a database. */
export class SqliteTaskResultStore implements TaskResultStore {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  async saveTaskResult(params: SaveTaskResultParams, options?: Abortable): Promise<void> {
    const { instanceId, taskId, output, claim } = checkTaskResultParams(
      params,
      this.#store.options.maxPayloadBytes,
    )
    return this.#store.write(checkAbortable(options), (transaction) => {
      const edit = InstanceEdit.load(transaction, instanceId)
      if (edit === null) throw notFound(instanceId)
      edit.mustBeOpen()
      if (claim !== undefined) edit.mustHold(claim)
      edit.keepBranches(taskId)
      edit.putResult(taskId, output)
      edit.change(completeTask(edit.head, taskId, output))
      edit.flush()
    })
  }

  async loadTaskResult(
    instanceId: string,
    taskId: string,
    options?: Abortable,
  ): Promise<Uint8Array | null> {
    checkId(instanceId, 'instanceId')
    checkId(taskId, 'taskId')
    return this.#store.read(checkAbortable(options), (db) => {
      if (readStatus(db, instanceId) === null) throw notFound(instanceId)
      return readResult(db, instanceId, taskId)
    })
  }
}
