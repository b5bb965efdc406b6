export { type ArrivedEvent, advance } from './advance.ts'
export type { Abortable, BackendOptions, Capabilities, PersistentBackend } from './backend.ts'
export { type RunnableTask, runnableTasks } from './dispatch.ts'
export { decodeSnapshot, encodeSnapshot } from './envelope.ts'
export { BackendError, type BackendErrorCode, type BackendErrorDetails } from './errors.ts'
export { type HoldClaimOptions, holdClaim } from './hold-claim.ts'
export type * from './maintenance.ts'
export { applyOutcome } from './outcome.ts'
export type * from './position.ts'
export type * from './signal-store.ts'
export type * from './snapshot.ts'
export type * from './snapshot-store.ts'
export type * from './task-claim-store.ts'
export { taskIdFromName } from './task-id.ts'
export type * from './task-result-store.ts'
export {
  type CancelParams,
  type CreateSnapshotParams,
  cancelWorkflow,
  completeTask,
  completeWorkflow,
  createSnapshot,
  failWorkflow,
  moveTo,
  type PauseParams,
  pauseWorkflow,
  type RetryParams,
  resumeWorkflow,
  scheduleRetry,
  type TaskOptions,
} from './transitions.ts'
