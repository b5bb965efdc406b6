import { BackendError, type BackendErrorCode } from '@sayiir/persistence-core'

/** What the driver throws: for the server's errors `code` is the SQLSTATE. */
interface DriverError extends Error {
  readonly code: string
}

/** SQLSTATEs (https://www.postgresql.org/docs/current/errcodes-appendix.html), or the class that they begin with; what they become, and what to do. */
const BY_SQLSTATE: Readonly<Record<string, readonly [BackendErrorCode, string]>> = {
  '08': ['UNAVAILABLE', 'the connection to the database failed'],
  '0A000': [
    'BACKEND',
    'the database can not do this; behind a pooler in transaction mode, set preparedStatements: false',
  ],
  '25006': ['UNAVAILABLE', 'the database can only be read: it is a standby, or set so'],
  '26000': [
    'BACKEND',
    'a prepared statement is gone; behind a pooler in transaction mode, set preparedStatements: false',
  ],
  '28': ['BACKEND', 'the database refused the user or the password'],
  '3D000': ['BACKEND', 'there is no such database'],
  '3F000': ['SCHEMA', 'the schema is missing; run migrate()'],
  '40001': ['UNAVAILABLE', 'others were changing the same rows; try again'],
  '40P01': ['UNAVAILABLE', 'others were changing the same rows, in a deadlock; try again'],
  '42501': ['BACKEND', "the database user lacks a privilege; see the README's least privileges"],
  '42703': ['SCHEMA', "the tables are not this version's; run migrate()"],
  '42883': ['SCHEMA', "the functions are missing or not this version's; run migrate()"],
  '42P01': ['SCHEMA', 'the tables are missing; run migrate()'],
  '42P05': [
    'BACKEND',
    'a prepared statement is there already; behind a pooler in transaction mode, set preparedStatements: false',
  ],
  '53': ['UNAVAILABLE', 'the database is out of resources (connections, memory or disk)'],
  '54000': ['PAYLOAD_TOO_LARGE', 'the database can not take as much at once'],
  '55P03': ['UNAVAILABLE', 'a lock was not had in time (lock_timeout)'],
  '57': ['UNAVAILABLE', 'the database ended the statement or the connection'],
  '58': ['UNAVAILABLE', 'the database had a system error'],
  XX001: ['SERIALIZATION', 'the database found damaged data'],
  XX002: ['SERIALIZATION', 'the database found a damaged index'],
}

/** The driver's own codes, and those of sockets. */
const BY_CODE: Readonly<Record<string, string>> = {
  CONNECTION_CLOSED: 'the connection to the database was closed',
  CONNECTION_DESTROYED: 'the connection to the database was given up',
  CONNECTION_ENDED: 'the database client was ended',
  CONNECT_TIMEOUT: 'the database could not be connected to in time',
}

/**
 * Errors after which nothing was written, so that the same may be tried again; that a row is there
 * (23505) is then seen before it is written.
 */
export function isRefusedForOthers(error: unknown): boolean {
  const { code } = error as Partial<DriverError>
  return code === '40001' || code === '40P01' || code === '23505'
}

/** Whether a row was locked by somebody else for too long; then nothing was written. */
export function isLockTimeout({ cause }: BackendError): boolean {
  return (cause as Partial<DriverError> | undefined)?.code === '55P03'
}

/** A driver's error as a {@link BackendError}; any other error as it is. */
export function toBackendError(error: unknown): unknown {
  if (BackendError.is(error) || !isDriverError(error)) return error
  const { code } = error
  const known = BY_SQLSTATE[code] ?? (isSqlState(code) ? BY_SQLSTATE[code.slice(0, 2)] : undefined)
  if (known !== undefined) return backendError(known[0], known[1], code, error)
  if (isSqlState(code)) return backendError('BACKEND', 'the database failed', code, error)
  const message = BY_CODE[code] ?? 'the database can not be reached'
  // Nothing of such an error says what was done to a statement that was under way.
  return backendError('UNAVAILABLE', message, code, error)
}

function backendError(
  code: BackendErrorCode,
  message: string,
  reason: string,
  error: Error,
): BackendError {
  // Not the error's own message: it may quote what was sent.
  return new BackendError(code, `${message} (${reason})`, { cause: error })
}

function isSqlState(code: string): boolean {
  return /^[0-9A-Z]{5}$/.test(code) && code !== 'EPIPE' && !code.startsWith('ERR')
}

function isDriverError(error: unknown): error is DriverError {
  return error instanceof Error && typeof (error as Partial<DriverError>).code === 'string'
}
