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
  cannotCancel,
  cannotPause,
  checkAbortable,
  checkId,
  checkIdOrNull,
  checkObject,
  checkPayload,
  checkSignalDetails,
  checkSignalKind,
  isEnded,
  terminal,
} from '@sayiir/persistence-core/adapter'
import { copySnapshot } from './copies.ts'
import { type EventQueue, type InstanceRecord, place, placed, takeQueuedEvent } from './records.ts'
import type { StoreContext } from './store-context.ts'

/** Control signals and events. */
export class MemorySignalStore implements SignalStore {
  readonly #context: StoreContext

  constructor(context: StoreContext) {
    this.#context = context
  }

  async storeSignal(
    instanceId: string,
    kind: SignalKind,
    request?: SignalDetails,
    options?: Abortable,
  ): Promise<void> {
    const { lifecycle, records, now } = this.#context
    checkId(instanceId, 'instanceId')
    checkSignalKind(kind)
    const details = checkSignalDetails(request)
    return lifecycle.run(checkAbortable(options), () => {
      const record = records.require(instanceId)
      const { status } = record.snapshot.state
      if (kind === 'cancel') {
        if (status === 'cancelled') return
        if (isEnded(status)) throw cannotCancel(instanceId, status)
      } else {
        if (status === 'paused') return
        if (isEnded(status)) throw cannotPause(instanceId, `it is ${status}`)
      }
      records.setSignal(record, kind, { kind, ...details, requestedAt: now() })
    })
  }

  async getSignal(
    instanceId: string,
    kind: SignalKind,
    options?: Abortable,
  ): Promise<SignalRequest | null> {
    const { lifecycle, records } = this.#context
    checkId(instanceId, 'instanceId')
    checkSignalKind(kind)
    return lifecycle.run(checkAbortable(options), () => {
      const request = records.get(instanceId)?.[kind] ?? null
      return request === null ? null : { ...request }
    })
  }

  async clearSignal(instanceId: string, kind: SignalKind, options?: Abortable): Promise<void> {
    const { lifecycle, records } = this.#context
    checkId(instanceId, 'instanceId')
    checkSignalKind(kind)
    return lifecycle.run(checkAbortable(options), () => {
      const record = records.get(instanceId)
      if (record !== undefined) records.setSignal(record, kind, null)
    })
  }

  async checkAndCancel(
    instanceId: string,
    details?: CancelDetails,
    options?: Abortable,
  ): Promise<boolean> {
    const { lifecycle, records, now } = this.#context
    checkId(instanceId, 'instanceId')
    const interrupted = checkCancelDetails(details)
    return lifecycle.run(checkAbortable(options), () => {
      const record = records.get(instanceId)
      if (record === undefined) return false
      const { cancel } = record
      return records.applySignals(record, { cancel, pause: null }, now(), interrupted)
    })
  }

  async checkAndPause(instanceId: string, options?: Abortable): Promise<boolean> {
    const { lifecycle, records, now } = this.#context
    checkId(instanceId, 'instanceId')
    return lifecycle.run(checkAbortable(options), () => {
      const record = records.get(instanceId)
      // A cancel beats it (rule G1).
      if (record === undefined || record.cancel !== null) return false
      return records.applySignals(record, record, now())
    })
  }

  async checkControlSignals(
    instanceId: string,
    details?: CancelDetails,
    options?: Abortable,
  ): Promise<'cancelled' | 'paused' | null> {
    const { lifecycle, records, now } = this.#context
    checkId(instanceId, 'instanceId')
    const interrupted = checkCancelDetails(details)
    return lifecycle.run(checkAbortable(options), () => {
      const record = records.get(instanceId)
      if (record === undefined || !records.applySignals(record, record, now(), interrupted)) {
        return null
      }
      return record.snapshot.state.status === 'cancelled' ? 'cancelled' : 'paused'
    })
  }

  async unpause(instanceId: string, options?: Abortable): Promise<WorkflowSnapshot> {
    const { lifecycle, records, now } = this.#context
    checkId(instanceId, 'instanceId')
    return lifecycle.run(checkAbortable(options), () => {
      const record = records.require(instanceId)
      const at = now()
      const resumed = place(placed(record), resumeWorkflow(record.snapshot), at, { unpaused: true })
      records.change(record, takeQueuedEvent(record, resumed, at), at)
      return copySnapshot(record.snapshot)
    })
  }

  async sendEvent(
    instanceId: string,
    signalName: string,
    payload: Uint8Array,
    options?: SendEventOptions,
  ): Promise<void> {
    const { lifecycle, maxPayloadBytes, records, now } = this.#context
    checkId(instanceId, 'instanceId')
    checkId(signalName, 'signalName')
    const event = checkPayload(payload, 'payload', maxPayloadBytes)
    const signal = checkAbortable(options)
    const eventId = options?.eventId === undefined ? null : checkId(options.eventId, 'eventId')
    return lifecycle.run(signal, () => {
      const record = records.require(instanceId)
      requireOpen(record)
      if (eventId !== null && record.events.get(signalName)?.seenIds.has(eventId)) return
      const at = now()
      // A time that was up before the event came is up, though nobody has looked yet (rule E3).
      if (records.advanceTimer(record, at)) requireOpen(record)
      const { payloads, seenIds } = eventsOf(record, signalName)
      if (eventId !== null) seenIds.add(eventId)
      if (isWaitingFor(record, signalName)) records.deliver(record, event, at)
      else payloads.push(event)
    })
  }

  async consumeEvent(
    instanceId: string,
    signalName: string,
    options?: Abortable,
  ): Promise<Uint8Array | null> {
    const { lifecycle, records } = this.#context
    checkId(instanceId, 'instanceId')
    checkId(signalName, 'signalName')
    return lifecycle.run(
      checkAbortable(options),
      () => records.get(instanceId)?.events.get(signalName)?.payloads.shift() ?? null,
    )
  }
}

function checkCancelDetails(details: CancelDetails | undefined): CancelDetails {
  const { interruptedAtTask } = checkObject(details ?? {}, 'details')
  return { interruptedAtTask: checkIdOrNull(interruptedAtTask, 'interruptedAtTask') }
}

function requireOpen({ snapshot }: InstanceRecord): void {
  const { status } = snapshot.state
  if (isEnded(status)) throw terminal(snapshot.instanceId, status)
}

function isWaitingFor({ snapshot: { state } }: InstanceRecord, signalName: string): boolean {
  return (
    state.status === 'in-progress' &&
    state.position.kind === 'at-signal' &&
    state.position.signalName === signalName
  )
}

function eventsOf({ events }: InstanceRecord, signalName: string): EventQueue {
  const found = events.get(signalName)
  if (found !== undefined) return found
  const empty: EventQueue = { payloads: [], seenIds: new Set() }
  events.set(signalName, empty)
  return empty
}
