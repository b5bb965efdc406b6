import { BackendError, type BackendErrorCode } from '@sayiir/persistence-core'

/** Errors of the driver's own, by name, that mean that no server answered. */
const UNREACHABLE: ReadonlySet<string> = new Set([
  'MongoNetworkError',
  'MongoNetworkTimeoutError',
  'MongoServerSelectionError',
  'MongoNotConnectedError',
  'MongoTopologyClosedError',
  'MongoServerClosedError',
  'MongoPoolClosedError',
  'MongoPoolClearedError',
  'PoolClearedOnNetworkError',
  'MongoWaitQueueTimeoutError',
  'MongoOperationTimeoutError',
  'MongoExpiredSessionError',
  'MongoClientClosedError',
])

/** Codes of Node's own, of a socket that the driver was just using: it hands some of them on as they are. */
const SOCKET_CODES: ReadonlySet<unknown> = new Set([
  'EPIPE',
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ERR_SOCKET_CLOSED',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_WRITE_AFTER_END',
])

/** Errors of a PostgreSQL that is behind the server, which passes them on without a code of their own. */
const BEHIND =
  /deadlock detected|could not serialize|use of closed network connection|unexpected EOF|connection re(set|fused)|terminating connection|the database system is/i

/** Those of a PostgreSQL that gave a change up for another one. */
const GIVEN_UP = /deadlock detected|could not serialize/i
/** The code of a change that the server gave up for another one. */
const WRITE_CONFLICT = 112

/** Labels of errors after which the same call may succeed. */
const PASSING_LABELS: readonly string[] = [
  'RetryableWriteError',
  'RetryableError',
  'SystemOverloadedError',
  'TransientTransactionError',
]

/** The code of a change of one document in a sharded cluster whose filter does not tell the shard. */
export const SHARD_KEY_NOT_FOUND = 61
/** The code of a privilege that is missing. */
export const UNAUTHORIZED = 13
/** The code of "there is a document of that id already". */
export const DUPLICATE_KEY = 11000

/** Server codes (mongo/base/error_codes.yml), what they become, and what to do. */
const BY_CODE: ReadonlyMap<number, readonly [BackendErrorCode, string]> = new Map<
  number,
  readonly [BackendErrorCode, string]
>([
  ...[6, 7, 89, 9001, 384].map((code) => unavailable(code, 'the server lost a connection')),
  ...[24, 46, 112, 251].map((code) => unavailable(code, 'the write met another one')),
  ...[43, 237].map((code) => unavailable(code, 'the server closed a cursor')),
  ...[50, 262, 290].map((code) => unavailable(code, 'the server took too long')),
  ...[64, 79, 100, 134].map((code) =>
    unavailable(code, 'the write was not acknowledged by enough servers'),
  ),
  ...[91, 189, 10058, 10107, 11600, 11602, 13435, 13436, 133].map((code) =>
    unavailable(code, 'there is no primary, or it is changing'),
  ),
  ...[202, 349, 365, 462].map((code) => unavailable(code, 'the server is overloaded')),
  unavailable(14031, 'the disk of the server is full'),
  [8000, ['BACKEND', 'the server refused the call']],
  [
    UNAUTHORIZED,
    ['BACKEND', 'the user lacks a privilege; it needs the role readWrite on the database'],
  ],
  [18, ['BACKEND', 'the server refused the user or the password']],
  [26, ['SCHEMA', 'a collection is missing; run migrate()']],
  [67, ['SCHEMA', 'an index can not be made']],
  [73, ['SCHEMA', 'the name of the database or of a collection is not allowed']],
  [85, ['SCHEMA', 'an index of this name is there with other options; it is not ours']],
  [86, ['SCHEMA', 'an index of this name is there with other keys; it is not ours']],
  [10334, ['PAYLOAD_TOO_LARGE', 'the instance has grown past what a document can hold']],
  [17419, ['PAYLOAD_TOO_LARGE', 'the instance has grown past what a document can hold']],
  [17420, ['PAYLOAD_TOO_LARGE', 'the instance has grown past what a document can hold']],
])

function unavailable(
  code: number,
  message: string,
): readonly [number, readonly [BackendErrorCode, string]] {
  return [code, ['UNAVAILABLE', `${message}; try again`]]
}

/** What is read of a driver's error. */
interface DriverError extends Error {
  readonly code?: unknown
  hasErrorLabel?(label: string): boolean
}

/** A `bulkWrite` hides the error of the driver's own that ended it, such as a lost connection. */
function unwrapped(error: unknown): unknown {
  const { name, errorResponse } = (error ?? {}) as { name?: unknown; errorResponse?: unknown }
  return name === 'MongoBulkWriteError' && errorResponse instanceof Error ? errorResponse : error
}

/** A driver's error as a {@link BackendError}; any other error as it is. */
export function toBackendError(thrown: unknown): unknown {
  const error = unwrapped(thrown)
  if (!isDriverError(error)) return error
  const details = { cause: error }
  const { code } = error
  const known = typeof code === 'number' ? BY_CODE.get(code) : undefined
  if (known !== undefined) return new BackendError(known[0], told(known[1], error), details)
  if (isGivenUp(error))
    return new BackendError(
      'UNAVAILABLE',
      told('the write met another one; try again', error),
      details,
    )
  if (isPassing(error))
    return new BackendError('UNAVAILABLE', told('the server can not be reached', error), details)
  if (error.name === 'MongoParseError' || error.name === 'MongoInvalidArgumentError')
    return new BackendError('BACKEND', told('the driver refused its options', error), details)
  if (error.name === 'BSONVersionError') {
    const message =
      'the client is of another version of the driver than this package finds: have one'
    return new BackendError('BACKEND', told(message, error), details)
  }
  if (/too large|exceeds? (the )?max|larger than MaxDocumentSize/i.test(error.message))
    return new BackendError('PAYLOAD_TOO_LARGE', told('it is too large to store', error), details)
  return new BackendError('BACKEND', told('the server refused the call', error), details)
}

/** Whether the same call may succeed later, and whether this one landed is not known. */
export function isPassing(thrown: unknown): boolean {
  const error = unwrapped(thrown)
  if (!isDriverError(error)) return false
  return (
    lacksServers(error) ||
    UNREACHABLE.has(error.name) ||
    SOCKET_CODES.has(error.code) ||
    (typeof error.code === 'number' && BY_CODE.get(error.code)?.[0] === 'UNAVAILABLE') ||
    PASSING_LABELS.some((label) => error.hasErrorLabel?.(label) === true) ||
    BEHIND.test(error.message)
  )
}

/** Whether the server gave a change of one document up for another one: it has not landed, and may be tried again. */
export function isGivenUp(error: unknown): boolean {
  const { code, message } = error as { code?: unknown; message?: unknown }
  return isDriverError(error) && (code === WRITE_CONFLICT || GIVEN_UP.test(String(message)))
}

/** What a `bulkWrite` failed in, one by one, and what the others came to; no errors: it failed as a whole. */
export interface BulkError {
  readonly writeErrors: readonly {
    readonly index: number
    readonly code: number
    readonly errmsg?: string
  }[]
  readonly result?: { readonly matchedCount: number; readonly insertedCount: number }
}

export function bulkError(error: unknown): BulkError {
  const { writeErrors, result } = error as Partial<BulkError>
  if (!Array.isArray(writeErrors) || result === undefined) return { writeErrors: [] }
  // What has landed is not acknowledged by enough servers, whatever else is wrong with the others.
  if (lacksServers(error)) return { writeErrors: [] }
  return { writeErrors: writeErrors as BulkError['writeErrors'], result }
}

/** Whether a `bulkWrite` was not acknowledged by enough servers, which the driver says last. */
function lacksServers(error: unknown): boolean {
  const { result } = error as {
    result?: { getWriteConcernError?(): unknown }
  }
  return result?.getWriteConcernError?.() !== undefined
}

/** Whether there is a document of that id already. */
export function isDuplicate(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === DUPLICATE_KEY
}

function isDriverError(error: unknown): error is DriverError {
  return (
    error instanceof Error &&
    (/^(Mongo|BSON|PoolCleared)/.test(error.name) || SOCKET_CODES.has((error as DriverError).code))
  )
}

/** What the driver says, without what may be secret. */
function told(message: string, error: Error): string {
  const text = error.message.replaceAll(/mongodb(\+srv)?:\/\/\S*/gi, 'mongodb://…')
  return `${message} (${text.slice(0, 300)})`
}

/** The call was not answered in time. */
export function timedOut(timeoutMs: number): BackendError {
  return new BackendError(
    'UNAVAILABLE',
    `the server did not answer within ${timeoutMs} ms; whether a write landed is unknown`,
  )
}
