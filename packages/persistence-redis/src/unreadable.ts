import { BackendError } from '@sayiir/persistence-core'

/** `SERIALIZATION`, unless it is a backend's error already. */
export function unreadable(instanceId: string, cause: unknown): BackendError {
  if (BackendError.is(cause)) return cause
  const message = `what is stored of the instance can not be read: ${(cause as Error).message}`
  return new BackendError('SERIALIZATION', message, { cause, instanceId })
}
