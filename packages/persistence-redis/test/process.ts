import type { BackendOptions } from '@sayiir/persistence-core'
import { RedisBackend } from '@sayiir/persistence-redis'

/** A backend on a namespace, here and in the processes that the suite spawns. */
export function connect(namespace: string, options?: BackendOptions): Promise<RedisBackend> {
  const url = process.env.SAYIIR_REDIS_TEST_URL ?? ''
  return RedisBackend.connect({ url, keyPrefix: `${namespace}:`, ...options })
}
