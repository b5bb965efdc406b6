import { BackendError, type BackendErrorCode } from '@sayiir/persistence-core'

/** What the driver throws: an error of the service's, or of the way to it. */
interface DriverError extends Error {
  readonly code?: string
  readonly $fault?: 'client' | 'server'
  readonly $metadata?: { readonly httpStatusCode?: number; readonly attempts?: number }
  readonly $retryable?: object
}

/** Names of errors, what they become, and what to do. */
const BY_NAME: Readonly<Record<string, readonly [BackendErrorCode, string]>> = {
  ResourceNotFoundException: [
    'SCHEMA',
    'the table or an index of it is missing; create it, or connect with createTable: true',
  ],
  ProvisionedThroughputExceededException: [
    'UNAVAILABLE',
    'the table’s throughput is exceeded; try again, or raise it',
  ],
  ThrottlingException: ['UNAVAILABLE', 'the service throttles requests; try again'],
  RequestLimitExceeded: ['UNAVAILABLE', 'the account’s throughput is exceeded; try again'],
  LimitExceededException: ['UNAVAILABLE', 'too many tables are being changed; try again'],
  TransactionConflictException: ['UNAVAILABLE', 'another transaction is in the way; try again'],
  TransactionInProgressException: ['UNAVAILABLE', 'the transaction is still going on; try again'],
  ReplicatedWriteConflictException: [
    'UNAVAILABLE',
    'a write of another region is in the way; try again',
  ],
  InternalServerError: ['UNAVAILABLE', 'the service failed; try again'],
  InternalServerErrorException: ['UNAVAILABLE', 'the service failed; try again'],
  ServiceUnavailable: ['UNAVAILABLE', 'the service is not available; try again'],
  TimeoutError: ['UNAVAILABLE', 'the service did not answer in time'],
  AbortError: ['UNAVAILABLE', 'the service did not answer in time'],
  AccessDeniedException: [
    'BACKEND',
    'access was denied; the policy that is needed stands in the README',
  ],
  UnrecognizedClientException: ['BACKEND', 'the credentials are not valid'],
  InvalidSignatureException: ['BACKEND', 'the credentials are not valid'],
  MissingAuthenticationTokenException: ['BACKEND', 'there are no credentials'],
  CredentialsProviderError: ['BACKEND', 'there are no credentials'],
  ExpiredTokenException: ['BACKEND', 'the credentials have expired'],
  ItemCollectionSizeLimitExceededException: ['BACKEND', 'an item collection is too large'],
}

/** Codes of Node's for a connection that can not be made or was lost. */
const LOST = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'ETIMEDOUT',
  'ERR_SOCKET_CONNECTION_TIMEOUT',
])

/** A driver's error as a {@link BackendError}; one that is already, and any other's, as it is. */
export function toBackendError(error: unknown): unknown {
  if (!(error instanceof Error) || BackendError.is(error)) return error
  const driver = error as DriverError
  const [code, message] = classify(driver)
  return new BackendError(code, `${message} (${driver.name})`, { cause: error })
}

/** Whether the same request may be answered later: overload, or another one that is in the way. */
export function isThrottled(name: string | undefined): boolean {
  return (
    name !== undefined &&
    /^(ProvisionedThroughputExceeded|Throttling(Error|Exception)?$|RequestLimitExceeded|Transaction(Conflict|InProgress)|ReplicatedWriteConflict)/.test(
      name,
    )
  )
}

function classify(error: DriverError): readonly [BackendErrorCode, string] {
  const known = BY_NAME[error.name]
  if (known !== undefined) return known
  if (error.code !== undefined && LOST.has(error.code)) {
    return ['UNAVAILABLE', `the service can not be reached: ${error.code}`]
  }
  const status = error.$metadata?.httpStatusCode ?? 0
  if (status >= 500 || error.$fault === 'server' || error.$retryable !== undefined) {
    return ['UNAVAILABLE', 'the service failed; try again']
  }
  if (/socket hang up|network|premature|parse error/i.test(error.message)) {
    return ['UNAVAILABLE', 'the connection to the service was lost']
  }
  return ['BACKEND', `the service refused a request: ${error.message}`]
}
