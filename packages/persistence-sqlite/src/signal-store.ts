import {
  type Abortable,
  type CancelDetails,
  resumeWorkflow,
  type SendEventOptions,
  type SignalDetails,
  type SignalKind,
  type SignalRequest,
  type SignalStore,
  type WorkflowSnapshot,
} from '@sayiir/persistence-core'
import {
  applySignals,
  cannotCancel,
  cannotPause,
  checkAbortable,
  checkCancelDetails,
  checkId,
  checkIdOrNull,
  checkPayload,
  checkSignalDetails,
  checkSignalKind,
  isEnded,
  notFound,
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
export class SqliteSignalStore implements SignalStore {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  async storeSignal(
    instanceId: string,
    kind: SignalKind,
    request?: SignalDetails,
    options?: Abortable,
  ): Promise<void> {
    checkId(instanceId, 'instanceId')
    checkSignalKind(kind)
    const details = checkSignalDetails(request)
    return this.#store.write(checkAbortable(options), (transaction) => {
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

  async getSignal(
    instanceId: string,
    kind: SignalKind,
    options?: Abortable,
  ): Promise<SignalRequest | null> {
    checkId(instanceId, 'instanceId')
    checkSignalKind(kind)
    return this.#store.read(checkAbortable(options), (db) => readSignals(db, instanceId)[kind])
  }

  async clearSignal(instanceId: string, kind: SignalKind, options?: Abortable): Promise<void> {
    checkId(instanceId, 'instanceId')
    checkSignalKind(kind)
    return this.#store.write(checkAbortable(options), (transaction) => {
      const edit = InstanceEdit.load(transaction, instanceId)
      if (edit === null || (edit.signals & SIGNAL_BITS[kind]) === 0) return
      deleteSignal(transaction.db, instanceId, kind)
      edit.signals &= ~SIGNAL_BITS[kind]
      edit.flush()
    })
  }

  async checkAndCancel(
    instanceId: string,
    details?: CancelDetails,
    options?: Abortable,
  ): Promise<boolean> {
    return (await this.#control(instanceId, ['cancel'], details, options)) !== null
  }

  async checkAndPause(instanceId: string, options?: Abortable): Promise<boolean> {
    return (await this.#control(instanceId, ['pause'], undefined, options)) !== null
  }

  async checkControlSignals(
    instanceId: string,
    details?: CancelDetails,
    options?: Abortable,
  ): Promise<'cancelled' | 'paused' | null> {
    return this.#control(instanceId, ['cancel', 'pause'], details, options)
  }

  async unpause(instanceId: string, options?: Abortable): Promise<WorkflowSnapshot> {
    checkId(instanceId, 'instanceId')
    return this.#store.write(checkAbortable(options), (transaction) => {
      const edit = mustLoad(transaction, instanceId)
      edit.change(resumeWorkflow(edit.head), { unpaused: true })
      edit.flush()
      return load(transaction.db, this.#store.known, instanceId)
    })
  }

  async sendEvent(
    instanceId: string,
    signalName: string,
    payload: Uint8Array,
    options?: SendEventOptions,
  ): Promise<void> {
    checkId(instanceId, 'instanceId')
    checkId(signalName, 'signalName')
    const bytes = checkPayload(payload, 'payload', this.#store.options.maxPayloadBytes)
    const signal = checkAbortable(options)
    const eventId = checkIdOrNull(options?.eventId, 'eventId')
    const endedAs = await this.#store.write(signal, (transaction) =>
      deliver(transaction, instanceId, signalName, bytes, eventId),
    )
    if (endedAs !== null) throw terminal(instanceId, endedAs)
  }

  async consumeEvent(
    instanceId: string,
    signalName: string,
    options?: Abortable,
  ): Promise<Uint8Array | null> {
    checkId(instanceId, 'instanceId')
    checkId(signalName, 'signalName')
    return this.#store.write(checkAbortable(options), ({ db }) =>
      takeEvent(db, instanceId, signalName),
    )
  }

  async #control(
    instanceId: string,
    kinds: readonly SignalKind[],
    details: CancelDetails | undefined,
    options: Abortable | undefined,
  ): Promise<'cancelled' | 'paused' | null> {
    checkId(instanceId, 'instanceId')
    const given = checkCancelDetails(details)
    return this.#store.write(checkAbortable(options), (transaction) => {
      const edit = InstanceEdit.load(transaction, instanceId)
      if (edit === null || edit.signals === 0) return null
      const { cancel, pause } = edit.pendingSignals()
      // A pending cancel holds a pause back even where only pauses are asked for (rule G1).
      if (cancel !== null && !kinds.includes('cancel')) return null
      const pending = { cancel, pause: kinds.includes('pause') ? pause : null }
      const after = applySignals(edit.head, pending, transaction.now, given)
      if (after === edit.head) return null
      edit.change(after)
      edit.flush()
      return after.state.status === 'cancelled' ? 'cancelled' : 'paused'
    })
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
  signalName: string,
  payload: Uint8Array,
  eventId: string | null,
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
