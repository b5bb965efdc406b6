import { testBackendContract } from '@sayiir/persistence-core/contract'
import { RedisBackend } from '@sayiir/persistence-redis'
import { Cluster } from 'ioredis'
import { afterAll, inject } from 'vitest'
import { connect, nodesOf } from './cluster-process.ts'
import { dropKeys } from './keys.ts'
import { dropUser, makeUser } from './least-privileges.ts'

const { urls } = inject('redis-cluster')
process.env.SAYIIR_REDIS_TEST_NODES = urls.join(' ')
// Rule M5: with no more rights than the README asks for.
const user = await makeUser(urls, '*')
process.env.SAYIIR_REDIS_TEST_USER = JSON.stringify(user)

afterAll(() => dropUser(urls, user))

testBackendContract({
  name: 'redis cluster',
  capabilities: { durable: true, shared: true, wakeups: 'push', clock: 'store', order: 'shard' },
  connect,
  drop: async (namespace) => {
    for (const url of urls) await dropKeys(url, `${namespace}:`)
  },
  processModule: new URL('./cluster-process.ts', import.meta.url),
  borrow: async (namespace) => {
    const client = new Cluster(nodesOf(urls))
    return {
      backend: await RedisBackend.fromClient(client, { keyPrefix: `${namespace}:` }),
      isOpen: async () => (await client.get('a')) === null,
      close: async () => client.disconnect(),
    }
  },
})
