import { completeTask, type SaveTaskResultParams } from '@sayiir/persistence-core'
import { notFound, type TaskResultCalls } from '@sayiir/persistence-core/adapter'
import { InstanceEdit } from './instance-edit.ts'
import { readResult, readStatus } from './records.ts'
import type { Store } from './store.ts'

/** Single outputs in a database. */
export class SqliteTaskResultStore implements TaskResultCalls {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  saveTaskResult({ instanceId, taskId, output, claim }: SaveTaskResultParams): Promise<void> {
    return this.#store.write((transaction) => {
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

  loadTaskResult(instanceId: string, taskId: string): Promise<Uint8Array | null> {
    return this.#store.read((db) => {
      if (readStatus(db, instanceId) === null) throw notFound(instanceId)
      return readResult(db, instanceId, taskId)
    })
  }
}
