import { BackendError } from '@sayiir/persistence-core'

/** `SERIALIZATION`, unless it is a backend's error already. */
export function unreadable(instanceId: string, cause: unknown): BackendError {
  if (BackendError.is(cause)) return cause
  const message = `what is stored of the instance can not be read: ${(cause as Error).message}`
  return new BackendError('SERIALIZATION', message, { cause, instanceId })
}

/** Whether an error says so of an instance: then it must hold up no other. */
export function isUnreadable(error: unknown): error is BackendError {
  return BackendError.is(error, 'SERIALIZATION') || BackendError.is(error, 'SCHEMA')
}
