import { BackendError } from '@sayiir/persistence-core'
import { PostgresBackend } from '@sayiir/persistence-postgres'
import { expect, test } from 'vitest'
import { toBackendError } from '../src/errors.ts'

function driverError(code: string): Error {
  return Object.assign(new Error('user=joe password=secret'), { code })
}

test.each([
  ['connection_exception', '08006', 'UNAVAILABLE'],
  ['read_only_sql_transaction', '25006', 'UNAVAILABLE'],
  ['invalid_sql_statement_name', '26000', 'BACKEND'],
  ['invalid_password', '28P01', 'BACKEND'],
  ['invalid_catalog_name', '3D000', 'BACKEND'],
  ['invalid_schema_name', '3F000', 'SCHEMA'],
  ['serialization_failure', '40001', 'UNAVAILABLE'],
  ['deadlock_detected', '40P01', 'UNAVAILABLE'],
  ['insufficient_privilege', '42501', 'BACKEND'],
  ['undefined_table', '42P01', 'SCHEMA'],
  ['undefined_function', '42883', 'SCHEMA'],
  ['disk_full', '53100', 'UNAVAILABLE'],
  ['too_many_connections', '53300', 'UNAVAILABLE'],
  ['lock_not_available', '55P03', 'UNAVAILABLE'],
  ['query_canceled', '57014', 'UNAVAILABLE'],
  ['admin_shutdown', '57P01', 'UNAVAILABLE'],
  ['io_error', '58030', 'UNAVAILABLE'],
  ['data_corrupted', 'XX001', 'SERIALIZATION'],
  ['internal_error', 'XX000', 'BACKEND'],
  ['not_null_violation', '23502', 'BACKEND'],
  ['the driver', 'CONNECTION_CLOSED', 'UNAVAILABLE'],
  ['the driver', 'CONNECT_TIMEOUT', 'UNAVAILABLE'],
  ['a socket', 'ECONNREFUSED', 'UNAVAILABLE'],
  ['a socket', 'EPIPE', 'UNAVAILABLE'],
])('%s (%s) is %s', (_, reason, code) => {
  const cause = driverError(reason)
  const error = toBackendError(cause) as BackendError
  expect(error).toBeInstanceOf(BackendError)
  expect(error).toMatchObject({ code, cause, retryable: code === 'UNAVAILABLE' })
  expect(error.message).toContain(reason)
  expect(error.message).not.toContain('secret')
})

test("what is not the driver's stays as it is", () => {
  const error = new TypeError('no')
  expect(toBackendError(error)).toBe(error)
  const own = new BackendError('CONFLICT', 'moved')
  expect(toBackendError(own)).toBe(own)
})

test.each(['localhost:5432/app', 'http://joe:secret@127.0.0.1/app', 'joe:secret@127.0.0.1'])(
  'the url %j is refused before any server is asked, and not repeated',
  async (url) => {
    const error = await PostgresBackend.connect({ url }).catch((reason: unknown) => reason)
    expect(error).toEqual(new TypeError('url must begin with postgres:// or postgresql://'))
  },
)
