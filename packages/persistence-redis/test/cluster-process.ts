import type { BackendOptions } from '@sayiir/persistence-core'
import { RedisBackend } from '@sayiir/persistence-redis'

/** The nodes of a cluster as its client takes them. */
export function nodesOf(urls: readonly string[]): { host: string; port: number }[] {
  return urls.map((url) => {
    const { hostname, port } = new URL(url)
    return { host: hostname, port: Number(port) }
  })
}

/** A backend on a namespace of the cluster, here and in the processes that the suite spawns. */
export function connect(namespace: string, options?: BackendOptions): Promise<RedisBackend> {
  const nodes = nodesOf((process.env.SAYIIR_REDIS_TEST_NODES ?? '').split(' '))
  const user: unknown = JSON.parse(process.env.SAYIIR_REDIS_TEST_USER ?? '{}')
  const redisOptions = user as { username?: string; password?: string }
  return RedisBackend.connect({
    cluster: { nodes, options: { redisOptions } },
    keyPrefix: `${namespace}:`,
    ...options,
  })
}
