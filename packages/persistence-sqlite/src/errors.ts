import { BackendError, type BackendErrorCode } from '@sayiir/persistence-core'

/** What the driver throws for an error of SQLite's: `errcode` is the extended result code. */
interface DriverError extends Error {
  readonly code: string
  readonly errcode?: number
}

/** Primary result codes (https://www.sqlite.org/rescode.html), what they become, and what to do. */
const BY_RESULT_CODE: Readonly<Record<number, readonly [BackendErrorCode, string]>> = {
  1: ['BACKEND', 'the database refused a statement'],
  3: ['BACKEND', 'access to the database file was denied; check the permissions of its folder'],
  5: ['UNAVAILABLE', 'the database is locked by another connection; try again'],
  6: ['UNAVAILABLE', 'a table is locked by this connection; try again'],
  7: ['UNAVAILABLE', 'the database is out of memory'],
  8: [
    'BACKEND',
    'the database can only be read; make the file and its folder writable (SQLite keeps two more files beside it)',
  ],
  9: ['UNAVAILABLE', 'the statement was interrupted'],
  10: ['UNAVAILABLE', 'reading or writing the database file failed; check the disk'],
  11: [
    'SERIALIZATION',
    'the database file is corrupt; restore it from a backup, or recover what is left with the sqlite3 shell (.recover)',
  ],
  13: ['UNAVAILABLE', 'the disk is full; nothing of this was written: free some space'],
  14: [
    'UNAVAILABLE',
    'the database file can not be opened; check that its folder exists and can be written to',
  ],
  15: ['UNAVAILABLE', 'the database file could not be locked; is it on a network file system?'],
  17: ['SCHEMA', 'the tables changed while a statement ran'],
  18: ['PAYLOAD_TOO_LARGE', 'a value is larger than SQLite can store'],
  26: ['SCHEMA', 'the file is not an SQLite database; it was left untouched'],
}

/** The extended code of what SQLite itself notices of a file that was moved (outside of WAL mode). */
const MOVED = 1032

/** Whether another connection holds the lock that was wanted, or the owner of a borrowed one has a transaction open. */
export function isBusy(error: unknown): boolean {
  return isDriverError(error) && (primaryCode(error) === 5 || isNested(error))
}

function isNested(error: DriverError): boolean {
  return /within a transaction$/.test(error.message)
}

/** Whether the disk is full: then nothing of the transaction was kept. */
export function isFull(error: unknown): boolean {
  return isDriverError(error) && primaryCode(error) === 13
}

/** Primary result codes with which SQLite may end the whole transaction, be it for a statement that only reads. */
const ENDING: readonly number[] = [5, 7, 9, 10, 13]

/**
 * Whether SQLite may have rolled the transaction back along with the statement that failed: what is
 * written after would be kept at once, each statement on its own.
 */
export function mayHaveRolledBack(error: unknown): boolean {
  return isDriverError(error) && ENDING.includes(primaryCode(error))
}

/** The file at the database's path is another one by now, or none. */
export function fileIsGone(cause?: unknown): BackendError {
  return new BackendError(
    'BACKEND',
    'the database file was deleted, moved or replaced while it was open, and what is written goes nowhere: connect anew',
    { cause },
  )
}

/** A driver's error as a {@link BackendError}; any other error as it is. */
export function toBackendError(error: unknown): unknown {
  if (!isDriverError(error)) return error
  if (error.code === 'ERR_INVALID_STATE') {
    return new BackendError('UNAVAILABLE', `the database connection is closed: ${error.message}`, {
      cause: error,
    })
  }
  if (isNested(error)) {
    return new BackendError(
      'UNAVAILABLE',
      `a transaction of the program's own is open on this connection; end it, or lend another connection (${error.message})`,
      { cause: error },
    )
  }
  if (error.errcode === MOVED) return fileIsGone(error)
  if (/^no such (table|column|index)/.test(error.message)) {
    return new BackendError(
      'SCHEMA',
      `the tables are missing or not this version's (${error.message}); run migrate()`,
      { cause: error },
    )
  }
  const [code, message] = BY_RESULT_CODE[primaryCode(error)] ?? ['BACKEND', 'the database failed']
  return new BackendError(code, `${message} (${error.message})`, { cause: error })
}

function isDriverError(error: unknown): error is DriverError {
  const code = error instanceof Error ? (error as Partial<DriverError>).code : undefined
  return code === 'ERR_SQLITE_ERROR' || code === 'ERR_INVALID_STATE'
}

function primaryCode(error: DriverError): number {
  return (error.errcode ?? 0) & 0xff
}
