import { BackendError } from '@sayiir/persistence-core'
import { expect, test } from 'vitest'
import { toBackendError } from '../src/errors.ts'

function driverError(errcode: number, message = 'as SQLite says it'): Error {
  return Object.assign(new Error(message), { code: 'ERR_SQLITE_ERROR', errcode })
}

test.each([
  ['SQLITE_ERROR', 1, 'BACKEND'],
  ['SQLITE_PERM', 3, 'BACKEND'],
  ['SQLITE_BUSY', 5, 'UNAVAILABLE'],
  ['SQLITE_BUSY_SNAPSHOT', 517, 'UNAVAILABLE'],
  ['SQLITE_LOCKED', 6, 'UNAVAILABLE'],
  ['SQLITE_NOMEM', 7, 'UNAVAILABLE'],
  ['SQLITE_READONLY', 8, 'BACKEND'],
  ['SQLITE_READONLY_DIRECTORY', 1544, 'BACKEND'],
  ['SQLITE_INTERRUPT', 9, 'UNAVAILABLE'],
  ['SQLITE_IOERR_FSYNC', 1034, 'UNAVAILABLE'],
  ['SQLITE_CORRUPT', 11, 'SERIALIZATION'],
  ['SQLITE_CORRUPT_INDEX', 779, 'SERIALIZATION'],
  ['SQLITE_FULL', 13, 'UNAVAILABLE'],
  ['SQLITE_CANTOPEN', 14, 'UNAVAILABLE'],
  ['SQLITE_PROTOCOL', 15, 'UNAVAILABLE'],
  ['SQLITE_SCHEMA', 17, 'SCHEMA'],
  ['SQLITE_TOOBIG', 18, 'PAYLOAD_TOO_LARGE'],
  ['SQLITE_CONSTRAINT_NOTNULL', 1299, 'BACKEND'],
  ['SQLITE_MISUSE', 21, 'BACKEND'],
  ['SQLITE_NOTADB', 26, 'SCHEMA'],
  ['a code of a later version', 99, 'BACKEND'],
])('%s (%i) is %s', (_, errcode, code) => {
  const cause = driverError(errcode)
  const error = toBackendError(cause)
  expect(error).toBeInstanceOf(BackendError)
  expect(error).toMatchObject({ code, cause, retryable: code === 'UNAVAILABLE' })
  expect((error as Error).message).toContain(cause.message)
})

test('a table that is missing is the schema', () => {
  const cause = driverError(1, 'no such table: sayiir_task')
  expect(toBackendError(cause)).toMatchObject({ code: 'SCHEMA', cause })
})

test('a connection that its owner has closed can not be reached', () => {
  const cause = Object.assign(new Error('database is not open'), { code: 'ERR_INVALID_STATE' })
  expect(toBackendError(cause)).toMatchObject({ code: 'UNAVAILABLE', cause })
})

test("what is not the driver's stays as it is", () => {
  const error = new TypeError('no')
  expect(toBackendError(error)).toBe(error)
  const own = new BackendError('CONFLICT', 'moved')
  expect(toBackendError(own)).toBe(own)
})
