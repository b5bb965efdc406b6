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

/**
 * Something that an instance refers to was not there. It goes only once what refers to it was written
 * again or taken away, so it is looked for once more; where nothing has changed until then, it is missing.
 *
 * @param now What refers to it, as it is now; to be given as `before` the next time.
 * @throws `SERIALIZATION` where that is as it was.
 */
export function mustDiffer(instanceId: string, now: string, before: string): string {
  if (now !== before) return now
  const message = 'the stored instance can not be read: a body that it refers to is missing'
  throw new BackendError('SERIALIZATION', message, { instanceId })
}
