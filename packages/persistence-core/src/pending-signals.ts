import type { CancelDetails, SignalRequest } from './signal-store.ts'
import { type AnySnapshot, isEnded } from './snapshot.ts'
import { cancelWorkflow, pauseWorkflow } from './transitions.ts'

/** The control signals that wait for an instance. */
export interface PendingSignals {
  readonly cancel: SignalRequest | null
  readonly pause: SignalRequest | null
}

/** Applies what is pending, a cancel before a pause (rules G1, G2); the same object where nothing applies. */
export function applySignals<S extends AnySnapshot>(
  snapshot: S,
  { cancel, pause }: PendingSignals,
  at: number,
  details: CancelDetails = {},
): S {
  if (isEnded(snapshot.state.status)) return snapshot
  if (cancel !== null) {
    return cancelWorkflow(snapshot, {
      reason: cancel.reason,
      cancelledBy: cancel.requestedBy,
      interruptedAtTask: details.interruptedAtTask ?? null,
      at,
    })
  }
  if (pause !== null && snapshot.state.status === 'in-progress') {
    return pauseWorkflow(snapshot, { reason: pause.reason, pausedBy: pause.requestedBy, at })
  }
  return snapshot
}
