import { testBackendContract } from '@sayiir/persistence-core/contract'
import { RedisBackend } from '@sayiir/persistence-redis'
import { startService } from '@sayiir/services'
import { Cluster } from 'ioredis'
import { afterAll, beforeAll, expect } from 'vitest'
import { nodesOf } from './cluster-process.ts'
import { dropKeys } from './keys.ts'
import { connect } from './moving-process.ts'
import { SlotMover } from './slots.ts'

const server = await startService('redis-cluster')
process.env.SAYIIR_REDIS_TEST_NODES = server.urls.join(' ')
const mover = new SlotMover(server.urls)
let moving: Promise<void>

beforeAll(() => {
  moving = mover.run()
  moving.catch(() => undefined)
})

afterAll(async () => {
  mover.stop()
  await moving
  mover.disconnect()
  await server.stop()
  expect(mover.moved).toBeGreaterThan(16)
})

testBackendContract({
  name: 'redis cluster while slots are moved',
  capabilities: { durable: true, shared: true, wakeups: 'push', clock: 'store', order: 'shard' },
  connect,
  drop: async (namespace) => {
    // A key of a slot that is on the move is not this node's to delete; it goes with the server.
    for (const url of server.urls) {
      await dropKeys(url, `theirs:${namespace}:`).catch((error: unknown) => {
        if (!/^(ASK|MOVED|TRYAGAIN) /.test(String((error as Error).message))) throw error
      })
    }
  },
  processModule: new URL('./moving-process.ts', import.meta.url),
  borrow: async (namespace) => {
    const client = new Cluster(nodesOf(server.urls), {
      keyPrefix: 'theirs:',
      enableAutoPipelining: true,
    })
    return {
      backend: await RedisBackend.fromClient(client, { keyPrefix: `${namespace}:` }),
      isOpen: async () => (await client.get('a')) === null,
      close: async () => client.disconnect(),
    }
  },
})
