import { isLive } from '../dispatch.ts'
import { BackendError } from '../errors.ts'
import { applySignals } from '../pending-signals.ts'
import { InstanceEdit } from './instance-edit.ts'
import type { Decision, Session } from './session.ts'

/**
 * Takes care of instances that a look for work found due. One that fails, because what is stored of
 * it can not be read, say, is left to whoever looks next: it must hold up nobody's work, nor lose the
 * tasks that were claimed in the same step. Whether any did not fail.
 */
export async function settle(session: Session, due: readonly string[]): Promise<boolean> {
  const settled = await Promise.all(
    due.map((instanceId) =>
      settleOne(session, instanceId).then(
        () => true,
        (error: unknown) => {
          if (BackendError.is(error)) return false
          throw error
        },
      ),
    ),
  )
  return settled.includes(true)
}

/**
 * Applies pending signals of an instance that nobody works on (rule G4), or goes on from a timer that
 * is over (rule E1).
 */
export function settleOne(session: Session, instanceId: string): Promise<void> {
  const nothing = { write: null, reply: () => undefined }
  return session.change(instanceId, async ({ before, at }): Promise<Decision<void>> => {
    if (before === null) return nothing
    const edit = InstanceEdit.of(session.store, before, at)
    const { cancel, pause } = edit.pendingSignals
    if (cancel !== null || pause !== null) {
      if (edit.entries.some(({ claim }) => isLive(claim, edit.at))) return nothing
      await edit.change(applySignals(edit.head, { cancel, pause }, edit.at))
    } else if (!(await edit.advanceTimer())) return nothing
    return { write: edit.toWrite(), reply: () => undefined }
  })
}
