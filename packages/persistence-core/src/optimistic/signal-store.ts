import type { SentEvent, SignalCalls } from '../checked-calls.ts'
import { terminal } from '../errors.ts'
import { applySignals } from '../pending-signals.ts'
import type { CancelDetails, SignalDetails, SignalKind, SignalRequest } from '../signal-store.ts'
import { isEnded, type WorkflowSnapshot } from '../snapshot.ts'
import { cannotCancel, cannotPause, resumeWorkflow } from '../transitions.ts'
import { InstanceEdit } from './instance-edit.ts'
import type { Decision, Session } from './session.ts'
import { handOutWhole, readWhole } from './snapshot-store.ts'
import type { StoredInstance } from './store.ts'

/** Control signals and events. */
export class OptimisticSignalStore implements SignalCalls {
  readonly #session: Session

  constructor(session: Session) {
    this.#session = session
  }

  storeSignal(
    instanceId: string,
    kind: SignalKind,
    details: Required<SignalDetails>,
  ): Promise<void> {
    return this.#session.changeExisting(instanceId, (before, { at }): Decision<void> => {
      const { status } = before.head.state
      const nothing = { write: null, reply: () => undefined }
      if (status === (kind === 'cancel' ? 'cancelled' : 'paused')) return nothing
      if (isEnded(status)) {
        throw kind === 'cancel'
          ? cannotCancel(instanceId, status)
          : cannotPause(instanceId, `it is ${status}`)
      }
      const edit = InstanceEdit.of(this.#session.store, before, at)
      edit.setSignal(kind, { kind, ...details, requestedAt: edit.at })
      return { write: edit.toWrite(), reply: () => undefined }
    })
  }

  async getSignal(instanceId: string, kind: SignalKind): Promise<SignalRequest | null> {
    const { stored } = await this.#session.read(instanceId)
    const request = stored?.[kind] ?? null
    // What was read is kept, and applied by a later commit: the caller gets a copy.
    return request === null ? null : { ...request }
  }

  clearSignal(instanceId: string, kind: SignalKind): Promise<void> {
    return this.#session.change(instanceId, ({ before, at }): Decision<void> => {
      if (before === null || before[kind] === null) return { write: null, reply: () => undefined }
      const edit = InstanceEdit.of(this.#session.store, before, at)
      edit.setSignal(kind, null)
      return { write: edit.toWrite(), reply: () => undefined }
    })
  }

  applySignals(
    instanceId: string,
    kinds: readonly SignalKind[],
    details: Required<CancelDetails>,
  ): Promise<'cancelled' | 'paused' | null> {
    return this.#session.change(
      instanceId,
      async ({ before, at }): Promise<Decision<'cancelled' | 'paused' | null>> => {
        const nothing = { write: null, reply: () => null }
        // A pending cancel holds a pause back even where only pauses are asked for (rule G1).
        if (before === null || (before.cancel !== null && !kinds.includes('cancel'))) return nothing
        const pending = {
          cancel: before.cancel,
          pause: kinds.includes('pause') ? before.pause : null,
        }
        const edit = InstanceEdit.of(this.#session.store, before, at)
        const after = applySignals(edit.head, pending, edit.at, details)
        if (after === edit.head) return nothing
        await edit.change(after)
        const applied = after.state.status === 'cancelled' ? 'cancelled' : 'paused'
        return { write: edit.toWrite(), reply: () => applied }
      },
    )
  }

  unpause(instanceId: string): Promise<WorkflowSnapshot> {
    const session = this.#session
    let whole: Awaited<ReturnType<typeof readWhole>> = null
    return session.changeExisting(
      instanceId,
      async (before, { at }): Promise<Decision<WorkflowSnapshot>> => {
        const edit = InstanceEdit.of(session.store, before, at)
        const completedTasks = new Map(whole?.snapshot.state.completedTasks)
        const event = await edit.change(resumeWorkflow(edit.head), { unpaused: true })
        if (event !== null) {
          completedTasks.delete(event.taskId)
          completedTasks.set(event.taskId, event)
        }
        return {
          write: edit.toWrite(),
          reply: (after) => {
            const { head } = after ?? before
            if (after !== null) session.known.remember(after, completedTasks.values())
            return handOutWhole(head, completedTasks)
          },
        }
      },
      {
        read: async () => {
          whole = await readWhole(session, instanceId)
          return whole ?? { now: session.clock.now(), stored: null }
        },
      },
    )
  }

  async sendEvent(instanceId: string, event: SentEvent): Promise<void> {
    const session = this.#session
    const { signalName, eventId } = event
    let isKnown = false
    const endedAs = await session.changeExisting(
      instanceId,
      (before, { at }) => deliver(session, before, at, event, isKnown),
      {
        read: async () => {
          const id = eventId === null ? undefined : { signalName, eventId }
          const { now, stored, isKnownEvent } = await session.store.read(instanceId, id)
          session.saw(now, stored)
          isKnown = isKnownEvent
          return { now, stored }
        },
      },
    )
    if (endedAs !== null) throw terminal(instanceId, endedAs)
  }

  consumeEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    this.#session.cache.delete(instanceId)
    return this.#session.store.takeEvent(instanceId, signalName)
  }
}

/** Rules E2–E4. How the instance ended, if a time that was up ended it before the event came. */
async function deliver(
  { store }: Session,
  before: StoredInstance,
  at: number,
  event: SentEvent,
  isKnown: boolean,
): Promise<Decision<string | null>> {
  const edit = InstanceEdit.of(store, before, at)
  edit.mustBeOpen()
  if (isKnown) return { write: null, reply: () => null }
  await edit.advanceTimer()
  const { state } = edit.head
  if (isEnded(state.status)) return { write: edit.toWrite(), reply: () => state.status }
  const { signalName, eventId, payload } = event
  if (
    state.status === 'in-progress' &&
    state.position.kind === 'at-signal' &&
    state.position.signalName === signalName
  ) {
    await edit.keepBranches(state.position.signalId)
    await edit.deliver(state.position.signalId, payload)
    const delivered = eventId === null ? null : { signalName, eventId, payload: null }
    return { write: edit.toWrite({ event: delivered }), reply: () => null }
  }
  edit.queueEvent()
  return { write: edit.toWrite({ event }), reply: () => null }
}
