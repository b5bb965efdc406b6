import type { TaskResultCalls } from '../checked-calls.ts'
import { notFound } from '../errors.ts'
import type { SaveTaskResultParams } from '../task-result-store.ts'
import { completeTask } from '../transitions.ts'
import { InstanceEdit } from './instance-edit.ts'
import type { Session } from './session.ts'

/** Outputs, one at a time. */
export class OptimisticTaskResultStore implements TaskResultCalls {
  readonly #session: Session

  constructor(session: Session) {
    this.#session = session
  }

  saveTaskResult({ instanceId, taskId, output, claim }: SaveTaskResultParams): Promise<void> {
    const { store, cache } = this.#session
    return this.#session.changeExisting(
      instanceId,
      async (before, { at }) => {
        const edit = InstanceEdit.of(store, before, at)
        edit.mustBeOpen()
        if (claim !== undefined) edit.mustHold(claim)
        await edit.keepBranches(taskId)
        edit.putResult({ taskId, output })
        await edit.change(completeTask(edit.head, taskId, output))
        return { write: edit.toWrite({ holds: claim ?? null }), reply: () => undefined }
      },
      { guess: cache.get(instanceId) ?? undefined },
    )
  }

  async loadTaskResult(instanceId: string, taskId: string): Promise<Uint8Array | null> {
    const outputs = await this.#session.store.readOutputs(instanceId, [taskId])
    if (outputs === null) throw notFound(instanceId)
    return outputs.get(taskId) ?? null
  }
}
