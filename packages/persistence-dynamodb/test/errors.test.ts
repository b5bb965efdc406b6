import { BackendError, type BackendErrorCode } from '@sayiir/persistence-core'
import { describe, expect, test } from 'vitest'
import { toBackendError } from '../src/errors.ts'

/** An error as the SDK throws it. */
function driverError(name: string, fields: object = {}): Error {
  return Object.assign(new Error(`what the driver says of ${name}`), { name, ...fields })
}

const TABLE: readonly (readonly [string, object, BackendErrorCode])[] = [
  ['ResourceNotFoundException', {}, 'SCHEMA'],
  ['ProvisionedThroughputExceededException', {}, 'UNAVAILABLE'],
  ['ThrottlingException', {}, 'UNAVAILABLE'],
  ['RequestLimitExceeded', {}, 'UNAVAILABLE'],
  ['TransactionConflictException', {}, 'UNAVAILABLE'],
  ['InternalServerError', {}, 'UNAVAILABLE'],
  ['TimeoutError', {}, 'UNAVAILABLE'],
  ['AbortError', {}, 'UNAVAILABLE'],
  ['Error', { code: 'ECONNREFUSED' }, 'UNAVAILABLE'],
  ['Error', { code: 'ENOTFOUND' }, 'UNAVAILABLE'],
  ['SomethingNew', { $metadata: { httpStatusCode: 503 } }, 'UNAVAILABLE'],
  ['SomethingNew', { $fault: 'server' }, 'UNAVAILABLE'],
  ['SomethingNew', { $retryable: {} }, 'UNAVAILABLE'],
  ['AccessDeniedException', {}, 'BACKEND'],
  ['UnrecognizedClientException', {}, 'BACKEND'],
  ['CredentialsProviderError', {}, 'BACKEND'],
  ['ExpiredTokenException', {}, 'BACKEND'],
  ['ValidationException', { $fault: 'client' }, 'BACKEND'],
]

describe('errors of the driver', () => {
  test.each(TABLE)('%s %o is %s', (name, fields, code) => {
    const cause = driverError(name, fields)
    const error = toBackendError(cause)
    expect(error).toBeInstanceOf(BackendError)
    expect(error).toMatchObject({ code, cause, retryable: code === 'UNAVAILABLE' })
  })

  test('one of ours stays as it is', () => {
    const error = new BackendError('CLOSED', 'closed')
    expect(toBackendError(error)).toBe(error)
  })
})
