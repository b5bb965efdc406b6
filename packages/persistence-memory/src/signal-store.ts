import {
  type CancelDetails,
  resumeWorkflow,
  type SignalDetails,
  type SignalKind,
  type SignalRequest,
  type WorkflowSnapshot,
} from '@sayiir/persistence-core'
import {
  cannotCancel,
  cannotPause,
  isEnded,
  type SentEvent,
  type SignalCalls,
  terminal,
} from '@sayiir/persistence-core/adapter'
import { copySnapshot } from './copies.ts'
import { type EventQueue, type InstanceRecord, place, placed, takeQueuedEvent } from './records.ts'
import type { StoreContext } from './store-context.ts'

/** Control signals and events. */
export class MemorySignalStore implements SignalCalls {
  readonly #context: StoreContext

  constructor(context: StoreContext) {
    this.#context = context
  }

  storeSignal(instanceId: string, kind: SignalKind, details: Required<SignalDetails>): void {
    const { records, now } = this.#context
    const record = records.require(instanceId)
    const { status } = record.snapshot.state
    if (status === (kind === 'cancel' ? 'cancelled' : 'paused')) return
    if (isEnded(status)) {
      throw kind === 'cancel'
        ? cannotCancel(instanceId, status)
        : cannotPause(instanceId, `it is ${status}`)
    }
    records.setSignal(record, kind, { kind, ...details, requestedAt: now() })
  }

  getSignal(instanceId: string, kind: SignalKind): SignalRequest | null {
    const request = this.#context.records.get(instanceId)?.[kind] ?? null
    return request === null ? null : { ...request }
  }

  clearSignal(instanceId: string, kind: SignalKind): void {
    const { records } = this.#context
    const record = records.get(instanceId)
    if (record !== undefined) records.setSignal(record, kind, null)
  }

  applySignals(
    instanceId: string,
    kinds: readonly SignalKind[],
    details: Required<CancelDetails>,
  ): 'cancelled' | 'paused' | null {
    const { records, now } = this.#context
    const record = records.get(instanceId)
    // A pending cancel holds a pause back even where only pauses are asked for (rule G1).
    if (record === undefined || (record.cancel !== null && !kinds.includes('cancel'))) return null
    const pending = { cancel: record.cancel, pause: kinds.includes('pause') ? record.pause : null }
    if (!records.applySignals(record, pending, now(), details)) return null
    return record.snapshot.state.status === 'cancelled' ? 'cancelled' : 'paused'
  }

  unpause(instanceId: string): WorkflowSnapshot {
    const { records, now } = this.#context
    const record = records.require(instanceId)
    const at = now()
    const resumed = place(placed(record), resumeWorkflow(record.snapshot), at, { unpaused: true })
    records.change(record, takeQueuedEvent(record, resumed, at), at)
    return copySnapshot(record.snapshot)
  }

  sendEvent(instanceId: string, { signalName, payload, eventId }: SentEvent): void {
    const { records, now } = this.#context
    const record = records.require(instanceId)
    requireOpen(record)
    if (eventId !== null && record.events.get(signalName)?.seenIds.has(eventId)) return
    const at = now()
    // A time that was up before the event came is up, though nobody has looked yet (rule E3).
    if (records.advanceTimer(record, at)) requireOpen(record)
    const { payloads, seenIds } = eventsOf(record, signalName)
    if (eventId !== null) seenIds.add(eventId)
    if (isWaitingFor(record, signalName)) records.deliver(record, payload, at)
    else payloads.push(payload)
  }

  consumeEvent(instanceId: string, signalName: string): Uint8Array | null {
    const { records } = this.#context
    return records.get(instanceId)?.events.get(signalName)?.payloads.shift() ?? null
  }
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
