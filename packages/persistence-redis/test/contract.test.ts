import { testBackendContract } from '@sayiir/persistence-core/contract'
import { RedisBackend } from '@sayiir/persistence-redis'
import { Redis } from 'ioredis'
import { afterAll, inject } from 'vitest'
import { dropKeys } from './keys.ts'
import { dropUser, makeUser, withUser } from './least-privileges.ts'
import { connect } from './process.ts'

const { url } = inject('redis')
// Rule M5: with no more rights than the README asks for.
const user = await makeUser([url], '*')
// Inherited by the processes that the suite spawns.
process.env.SAYIIR_REDIS_TEST_URL = withUser(url, user)

afterAll(() => dropUser([url], user))

testBackendContract({
  name: 'redis',
  capabilities: { durable: true, shared: true, wakeups: 'push', clock: 'store', order: 'global' },
  connect,
  drop: (namespace) => dropKeys(url, `${namespace}:`),
  processModule: new URL('./process.ts', import.meta.url),
  borrow: async (namespace) => {
    const client = new Redis(url)
    return {
      backend: await RedisBackend.fromClient(client, { keyPrefix: `${namespace}:` }),
      isOpen: async () => (await client.ping()) === 'PONG',
      close: async () => client.disconnect(),
    }
  },
  leastPrivileges: {
    setUp: async (namespace) =>
      (await RedisBackend.connect({ url, keyPrefix: `${namespace}:` })).close(),
    connect: (namespace, options) => connect(namespace, { migrate: false, ...options }),
    overreach: async () => {
      const client = new Redis(withUser(url, user))
      await client.config('GET', 'maxmemory').finally(() => client.disconnect())
    },
  },
})
