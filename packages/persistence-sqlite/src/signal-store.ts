import {
  type CancelDetails,
  resumeWorkflow,
  type SignalDetails,
  type SignalKind,
  type SignalRequest,
  type WorkflowSnapshot,
} from '@sayiir/persistence-core'
import {
  applySignals,
  cannotCancel,
  cannotPause,
  isEnded,
  notFound,
  type SentEvent,
  type SignalCalls,
  terminal,
} from '@sayiir/persistence-core/adapter'
import { isEventSeen, queueEvent, rememberEvent, takeEvent } from './event-rows.ts'
import { InstanceEdit } from './instance-edit.ts'
import { SIGNAL_BITS } from './records.ts'
import { deleteSignal, readSignals, writeSignal } from './signal-rows.ts'
import { load } from './snapshot-store.ts'
import type { Store } from './store.ts'
import type { Transaction } from './transaction.ts'

/** Control signals and events in a database. */
export class SqliteSignalStore implements SignalCalls {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  storeSignal(
    instanceId: string,
    kind: SignalKind,
    details: Required<SignalDetails>,
  ): Promise<void> {
    return this.#store.write((transaction) => {
      const edit = mustLoad(transaction, instanceId)
      const { status } = edit.head.state
      if (status === (kind === 'cancel' ? 'cancelled' : 'paused')) return
      if (isEnded(status)) {
        throw kind === 'cancel'
          ? cannotCancel(instanceId, status)
          : cannotPause(instanceId, `it is ${status}`)
      }
      writeSignal(transaction.db, instanceId, { kind, ...details, requestedAt: transaction.now })
      edit.signals |= SIGNAL_BITS[kind]
      edit.flush()
      // Whoever waits for work is to apply it, where no worker is there to.
      transaction.madeAvailable = true
    })
  }

  getSignal(instanceId: string, kind: SignalKind): Promise<SignalRequest | null> {
    return this.#store.read((db) => readSignals(db, instanceId)[kind])
  }

  clearSignal(instanceId: string, kind: SignalKind): Promise<void> {
    return this.#store.write((transaction) => {
      const edit = InstanceEdit.load(transaction, instanceId)
      if (edit === null || (edit.signals & SIGNAL_BITS[kind]) === 0) return
      deleteSignal(transaction.db, instanceId, kind)
      edit.signals &= ~SIGNAL_BITS[kind]
      edit.flush()
    })
  }

  applySignals(
    instanceId: string,
    kinds: readonly SignalKind[],
    details: Required<CancelDetails>,
  ): Promise<'cancelled' | 'paused' | null> {
    return this.#store.write((transaction) => {
      const edit = InstanceEdit.load(transaction, instanceId)
      if (edit === null || edit.signals === 0) return null
      const { cancel, pause } = edit.pendingSignals()
      // A pending cancel holds a pause back even where only pauses are asked for (rule G1).
      if (cancel !== null && !kinds.includes('cancel')) return null
      const pending = { cancel, pause: kinds.includes('pause') ? pause : null }
      const after = applySignals(edit.head, pending, transaction.now, details)
      if (after === edit.head) return null
      edit.change(after)
      edit.flush()
      return after.state.status === 'cancelled' ? 'cancelled' : 'paused'
    })
  }

  unpause(instanceId: string): Promise<WorkflowSnapshot> {
    return this.#store.write((transaction) => {
      const edit = mustLoad(transaction, instanceId)
      edit.change(resumeWorkflow(edit.head), { unpaused: true })
      edit.flush()
      return load(transaction.db, this.#store.known, instanceId)
    })
  }

  async sendEvent(instanceId: string, event: SentEvent): Promise<void> {
    const endedAs = await this.#store.write((transaction) =>
      deliver(transaction, instanceId, event),
    )
    if (endedAs !== null) throw terminal(instanceId, endedAs)
  }

  consumeEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    return this.#store.write(({ db }) => takeEvent(db, instanceId, signalName))
  }
}

function mustLoad(transaction: Transaction, instanceId: string): InstanceEdit {
  const edit = InstanceEdit.load(transaction, instanceId)
  if (edit === null) throw notFound(instanceId)
  return edit
}

/** Rules E2–E4. How the instance ended, if a time that was up ended it before the event came. */
function deliver(
  transaction: Transaction,
  instanceId: string,
  { signalName, payload, eventId }: SentEvent,
): string | null {
  const { db } = transaction
  const edit = mustLoad(transaction, instanceId)
  edit.mustBeOpen()
  if (eventId !== null && isEventSeen(db, instanceId, signalName, eventId)) return null
  edit.advanceTimer()
  const { state } = edit.head
  if (isEnded(state.status)) {
    edit.flush()
    return state.status
  }
  if (eventId !== null) rememberEvent(db, instanceId, signalName, eventId)
  const parked =
    state.status === 'in-progress' &&
    state.position.kind === 'at-signal' &&
    state.position.signalName === signalName
      ? state.position
      : null
  if (parked === null) queueEvent(db, instanceId, signalName, payload)
  else edit.deliver(parked.signalId, payload)
  edit.flush()
  return null
}
