import type { Abortable } from './backend.ts'
import type { WorkflowSnapshot } from './snapshot.ts'

/** A request to stop an instance, for good or for now. */
export type SignalKind = 'cancel' | 'pause'

/** Who asks, and why; both end up in the stopped state. */
export interface SignalDetails {
  /** At most 64 KiB. */
  readonly reason?: string | null
  /** At most 64 KiB. */
  readonly requestedBy?: string | null
}

/** A stored request that has not been applied yet. */
export interface SignalRequest {
  readonly kind: SignalKind
  readonly reason: string | null
  readonly requestedBy: string | null
  /** Epoch milliseconds by the store's clock. */
  readonly requestedAt: number
}

/** How a sender makes `sendEvent` safe to repeat. */
export interface SendEventOptions extends Abortable {
  /** An event with an id already seen for this instance and signal name is dropped. */
  readonly eventId?: string
}

/** The task that a cancel interrupts, kept in the cancelled state. */
export interface CancelDetails {
  readonly interruptedAtTask?: string | null
}

/** Control signals (cancel, pause) and external events. Rules E1–E4 and G1–G4. */
export interface SignalStore {
  /**
   * Asks for an instance to be cancelled or paused. From now on none of its tasks is handed out;
   * the next commit, check or dispatch applies the request (rule G4). A second request of a kind
   * replaces the first; cancelling a cancelled instance or pausing a paused one changes nothing.
   *
   * @throws `NOT_FOUND`; `CANNOT_CANCEL` (completed or failed); `CANNOT_PAUSE` (ended).
   */
  storeSignal(
    instanceId: string,
    kind: SignalKind,
    request?: SignalDetails,
    options?: Abortable,
  ): Promise<void>
  /** The pending request of that kind, or null. */
  getSignal(
    instanceId: string,
    kind: SignalKind,
    options?: Abortable,
  ): Promise<SignalRequest | null>
  /** Takes a pending request back; nothing happens if there is none. */
  clearSignal(instanceId: string, kind: SignalKind, options?: Abortable): Promise<void>
  /** Applies a pending cancel to an instance in progress or paused. True if it was applied. */
  checkAndCancel(instanceId: string, details?: CancelDetails, options?: Abortable): Promise<boolean>
  /** Applies a pending pause to an instance in progress that has no pending cancel. True if it was applied. */
  checkAndPause(instanceId: string, options?: Abortable): Promise<boolean>
  /** Applies the pending request, a cancel before a pause, and tells which. */
  checkControlSignals(
    instanceId: string,
    details?: CancelDetails,
    options?: Abortable,
  ): Promise<'cancelled' | 'paused' | null>
  /**
   * Returns a paused instance to exactly the position it had, or further, if an event that it
   * waited for came meanwhile.
   *
   * @throws `NOT_FOUND`; `CANNOT_PAUSE` on one that is not paused.
   */
  unpause(instanceId: string, options?: Abortable): Promise<WorkflowSnapshot>
  /**
   * Delivers an event: to the instance if it waits at this signal, else to its queue, first in,
   * first out for each signal name.
   *
   * @throws `PAYLOAD_TOO_LARGE`, `NOT_FOUND`, `TERMINAL`.
   */
  sendEvent(
    instanceId: string,
    signalName: string,
    payload: Uint8Array,
    options?: SendEventOptions,
  ): Promise<void>
  /** Takes the oldest queued event, or null. At most once where the reply is lost. */
  consumeEvent(
    instanceId: string,
    signalName: string,
    options?: Abortable,
  ): Promise<Uint8Array | null>
}
