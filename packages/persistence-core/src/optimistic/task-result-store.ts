import type { Abortable } from '../backend.ts'
import { checkId } from '../check.ts'
import { checkAbortable, checkTaskResultParams } from '../check-params.ts'
import { notFound } from '../errors.ts'
import type { SaveTaskResultParams, TaskResultStore } from '../task-result-store.ts'
import { completeTask } from '../transitions.ts'
import { InstanceEdit } from './instance-edit.ts'
import type { Session } from './session.ts'

/** Outputs, one at a time. */
export class OptimisticTaskResultStore implements TaskResultStore {
  readonly #session: Session

  constructor(session: Session) {
    this.#session = session
  }

  async saveTaskResult(params: SaveTaskResultParams, options?: Abortable): Promise<void> {
    const session = this.#session
    const checked = checkTaskResultParams(params, session.options.maxPayloadBytes)
    const { instanceId, taskId, output, claim } = checked
    return session.lifecycle.run(checkAbortable(options), () =>
      session.changeExisting(
        instanceId,
        async (before, { at }) => {
          const edit = InstanceEdit.of(session.store, before, at)
          edit.mustBeOpen()
          if (claim !== undefined) edit.mustHold(claim)
          await edit.keepBranches(taskId)
          edit.putResult({ taskId, output })
          await edit.change(completeTask(edit.head, taskId, output))
          return { write: edit.toWrite({ holds: claim ?? null }), reply: () => undefined }
        },
        { guess: session.cache.get(instanceId) ?? undefined },
      ),
    )
  }

  async loadTaskResult(
    instanceId: string,
    taskId: string,
    options?: Abortable,
  ): Promise<Uint8Array | null> {
    checkId(instanceId, 'instanceId')
    checkId(taskId, 'taskId')
    return this.#session.lifecycle.run(checkAbortable(options), async () => {
      const outputs = await this.#session.store.readOutputs(instanceId, [taskId])
      if (outputs === null) throw notFound(instanceId)
      return outputs.get(taskId) ?? null
    })
  }
}
