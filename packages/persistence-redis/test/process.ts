import { RedisBackend, type RedisBackendOptions } from '@sayiir/persistence-redis'

/** A backend on a namespace, here and in the processes that the suite spawns. */
export function connect(namespace: string, options?: RedisBackendOptions): Promise<RedisBackend> {
  const url = process.env.SAYIIR_REDIS_TEST_URL ?? ''
  return RedisBackend.connect({ url, keyPrefix: `${namespace}:`, ...options })
}
