/**
 * Why a call failed. Codes never change within a major version; messages may.
 *
 * | code | meaning |
 * | --- | --- |
 * | `NOT_FOUND` | no such instance |
 * | `SERIALIZATION` | stored bytes can't be read, or a value can't be written |
 * | `CLAIM_LOST` | the claim is no longer the caller's; nothing was changed |
 * | `CONFLICT` | the revision moved; nothing was changed |
 * | `TERMINAL` | the instance has ended |
 * | `CANNOT_CANCEL` | the instance completed or failed already |
 * | `CANNOT_PAUSE` | the instance can't be paused, or isn't paused |
 * | `PAYLOAD_TOO_LARGE` | a payload is larger than `maxPayloadBytes`; nothing was written |
 * | `UNAVAILABLE` | the store can't be reached, timed out or is overloaded: whether the write landed is unknown |
 * | `SCHEMA` | the store's schema is missing, newer than this version, or not ours |
 * | `CLOSED` | the backend was closed |
 * | `BACKEND` | anything else from the store; see `cause` |
 */
export type BackendErrorCode =
  | 'NOT_FOUND'
  | 'SERIALIZATION'
  | 'CLAIM_LOST'
  | 'CONFLICT'
  | 'TERMINAL'
  | 'CANNOT_CANCEL'
  | 'CANNOT_PAUSE'
  | 'PAYLOAD_TOO_LARGE'
  | 'UNAVAILABLE'
  | 'SCHEMA'
  | 'CLOSED'
  | 'BACKEND'

/** What a {@link BackendError} knows beside its code and message. */
export interface BackendErrorDetails {
  readonly cause?: unknown
  readonly instanceId?: string | undefined
  readonly taskId?: string | undefined
}

const brand = Symbol.for('@sayiir/persistence/BackendError')

/**
 * The one error class of every backend. Branch on `code`; a driver's own error is the `cause`.
 * Wrong arguments are a `TypeError` or `RangeError` instead, and an aborted call rejects with its
 * signal's reason.
 *
 * @example
 * ```ts
 * import { BackendError, type PersistentBackend } from '@sayiir/persistence-core'
 *
 * async function exists(backend: PersistentBackend, instanceId: string): Promise<boolean> {
 *   try {
 *     await backend.loadSnapshot(instanceId)
 *     return true
 *   } catch (error) {
 *     if (BackendError.is(error, 'NOT_FOUND')) return false
 *     throw error
 *   }
 * }
 * ```
 */
export class BackendError extends Error {
  override readonly name = 'BackendError'
  readonly code: BackendErrorCode
  /** True for `UNAVAILABLE` only: the same call may succeed later. */
  readonly retryable: boolean
  readonly instanceId: string | undefined
  readonly taskId: string | undefined
  constructor(code: BackendErrorCode, message: string, details: BackendErrorDetails = {}) {
    super(message, 'cause' in details ? { cause: details.cause } : undefined)
    this.code = code
    this.retryable = code === 'UNAVAILABLE'
    this.instanceId = details.instanceId
    this.taskId = details.taskId
    // Recognises an error of another copy of this package.
    Object.defineProperty(this, brand, { value: true })
  }

  /** Whether `error` is a `BackendError`, of that code if one is given, also of another copy of this package. */
  static is(error: unknown, code?: BackendErrorCode): error is BackendError {
    return (
      error instanceof Error &&
      brand in error &&
      (code === undefined || (error as Error & { code?: unknown }).code === code)
    )
  }
}

/** No such instance. */
export function notFound(instanceId: string): BackendError {
  return new BackendError('NOT_FOUND', `there is no instance ${quote(instanceId)}`, { instanceId })
}

/** The instance has ended. */
export function terminal(instanceId: string, status: string): BackendError {
  return new BackendError(
    'TERMINAL',
    `instance ${quote(instanceId)} is ${status} and no longer changes; delete and create it to start anew`,
    { instanceId },
  )
}

/** The claim is no longer the caller's. */
export function claimLost(instanceId: string, taskId: string): BackendError {
  return new BackendError(
    'CLAIM_LOST',
    `the claim on task ${quote(taskId)} of instance ${quote(instanceId)} is lost; nothing was changed: stop working on it`,
    { instanceId, taskId },
  )
}

/** The revision moved. */
export function conflict(
  instanceId: string,
  expected: number,
  actual: number | null,
): BackendError {
  const found = actual === null ? 'it is not there' : `it is at ${actual}`
  return new BackendError(
    'CONFLICT',
    `instance ${quote(instanceId)} was expected at revision ${expected}, but ${found}; load it and apply the change anew`,
    { instanceId },
  )
}

/** The backend was closed. */
export function closed(name: string): BackendError {
  return new BackendError('CLOSED', `this ${name} backend is closed; connect a new one`)
}

/**
 * Whether it says that what is stored of an instance can not be read, being damaged or of a newer
 * version: then it must hold up no other.
 */
export function isUnreadable(error: unknown): error is BackendError {
  return BackendError.is(error, 'SERIALIZATION') || BackendError.is(error, 'SCHEMA')
}

/** An id as it goes into a message: quoted, and cut where it is long. */
export function quote(id: string): string {
  return JSON.stringify(id.length > 80 ? `${id.slice(0, 77)}…` : id)
}
