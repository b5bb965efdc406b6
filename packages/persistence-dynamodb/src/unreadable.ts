import { BackendError } from '@sayiir/persistence-core'
import { isUnreadable } from '@sayiir/persistence-core/adapter'

/** What a malformed item is answered with. */
export function unreadable(why: string, cause?: unknown): BackendError {
  return new BackendError('SERIALIZATION', `the stored instance can not be read: ${why}`, { cause })
}

/** Reads something that is stored of an instance: what is wrong with it tells whose it is. */
export function ofInstance<T>(instanceId: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw named(instanceId, error)
  }
}

/** Reads something that is stored; null where it can not be read. */
export function ifReadable<T>(read: () => T): T | null {
  try {
    return read()
  } catch (error) {
    if (isUnreadable(error)) return null
    throw error
  }
}

/** An error with the instance that it is of, where that can not be read. */
export function named(instanceId: string, error: unknown): unknown {
  if (!isUnreadable(error) || error.instanceId !== undefined) return error
  return new BackendError(error.code, error.message, { instanceId, cause: error })
}

/** What an instance is answered with that refers to a body which is not there. */
export function incomplete(instanceId: string): BackendError {
  const message = 'the stored instance can not be read: a body that it refers to is missing'
  return new BackendError('SERIALIZATION', message, { instanceId })
}
