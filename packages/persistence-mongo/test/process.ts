import type { BackendOptions } from '@sayiir/persistence-core'
import { MongoBackend } from '@sayiir/persistence-mongo'

/** The database of all tests; each has collections of its own. */
export const DATABASE = 'sayiir_test'

/** Where the server is: processes that tests start are told by the environment. */
export function serverUrl(): string {
  const url = process.env.SAYIIR_TEST_MONGO
  if (url === undefined) throw new Error('SAYIIR_TEST_MONGO is not set')
  return url
}

/** Where a namespace is. */
export function placeOf(namespace: string): { database: string; collectionPrefix: string } {
  return { database: DATABASE, collectionPrefix: `${namespace}_` }
}

/** A backend on a namespace, here and in the processes that the suite spawns. */
export function connect(namespace: string, options?: BackendOptions): Promise<MongoBackend> {
  return MongoBackend.connect({ url: serverUrl(), ...placeOf(namespace), ...options })
}
