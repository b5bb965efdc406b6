/**
 * What the author of a backend needs beside the public interface: the checks that every method
 * starts with, the errors, and the rules of dispatch as pure functions.
 *
 * @module
 */
export { lastOutputOf, timerOf } from './advance.ts'
export { BaseBackend, type BaseBackendOptions } from './base-backend.ts'
export * from './check.ts'
export * from './check-params.ts'
export { checkSnapshot, copyResult, type TakeResult } from './check-snapshot.ts'
export { CheckedBackend } from './checked-backend.ts'
export type * from './checked-calls.ts'
export { compareIds } from './compare-ids.ts'
export * from './dispatch.ts'
export { claimLost, closed, conflict, isUnreadable, notFound, quote, terminal } from './errors.ts'
export { decodeHead, encodeHead, type HeadColumns, STORED_ELSEWHERE } from './head-record.ts'
export { Heap } from './heap.ts'
export type { InstanceRecord, QueuedEvent } from './instance.ts'
export { decodeInstance, encodeInstance, storedInstance } from './instance-codec.ts'
export type { InstanceStore, Versioned } from './instance-store.ts'
export { delay, Lifecycle, pause } from './lifecycle.ts'
export { Nudge } from './nudge.ts'
export { OptimisticBackend } from './optimistic/backend.ts'
export { mapBranches } from './optimistic/branches.ts'
export { CallFailure, CallQueue, type CallQueueOptions } from './optimistic/call-queue.ts'
export { isOpen } from './optimistic/open.ts'
export * from './optimistic/store.ts'
export { StoreClock } from './optimistic/store-clock.ts'
export { Turns } from './optimistic/turns.ts'
export * from './pending-signals.ts'
export { pollForWakeup, type WakeupPoll } from './poll.ts'
export { ENDED_STATUSES, isEnded, positionOf, toHead, withCompletedTasks } from './snapshot.ts'
export { cannotCancel, cannotPause } from './transitions.ts'
