import { BackendError } from '@sayiir/persistence-core'
import { MongoClient } from 'mongodb'
import { toBackendError } from './errors.ts'
import type { checkConnectOptions } from './options.ts'

/**
 * A client of our own. What the caller sets in `clientOptions` wins.
 *
 * @throws `UNAVAILABLE`, `BACKEND`; never with what is in the connection string.
 */
export async function connectClient(
  options: Pick<ReturnType<typeof checkConnectOptions>, 'url' | 'clientOptions' | 'timeoutMs'>,
): Promise<MongoClient> {
  const { url, clientOptions, timeoutMs } = options
  let client: MongoClient
  try {
    client = new MongoClient(url, {
      appName: 'sayiir',
      serverSelectionTimeoutMS: timeoutMs,
      connectTimeoutMS: timeoutMs,
      waitQueueTimeoutMS: timeoutMs,
      // Half-open connections end, and are made anew.
      socketTimeoutMS: timeoutMs,
      ...clientOptions,
    })
  } catch (cause) {
    // The driver's message may quote it.
    throw new BackendError('BACKEND', 'the connection string or clientOptions are not valid', {
      cause,
    })
  }
  try {
    return await client.connect()
  } catch (error) {
    await client.close()
    throw toBackendError(error)
  }
}
