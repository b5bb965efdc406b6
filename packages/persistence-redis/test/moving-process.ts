import type { BackendOptions } from '@sayiir/persistence-core'
import { RedisBackend } from '@sayiir/persistence-redis'
import { nodesOf } from './cluster-process.ts'

/** A backend with a prefix of the client's own, and pipelines that the client makes by itself. */
export function connect(namespace: string, options?: BackendOptions): Promise<RedisBackend> {
  return RedisBackend.connect({
    cluster: {
      nodes: nodesOf((process.env.SAYIIR_REDIS_TEST_NODES ?? '').split(' ')),
      options: { keyPrefix: 'theirs:', enableAutoPipelining: true },
    },
    keyPrefix: `${namespace}:`,
    commandTimeoutMs: 15_000,
    ...options,
  })
}
