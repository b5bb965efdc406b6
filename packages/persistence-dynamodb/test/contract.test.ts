import { ListTablesCommand } from '@aws-sdk/client-dynamodb'
import { testBackendContract } from '@sayiir/persistence-core/contract'
import { DynamoDBBackend } from '@sayiir/persistence-dynamodb'
import { inject } from 'vitest'
import { client, connect, ENDPOINT } from './process.ts'

// The suite's processes inherit it.
process.env[ENDPOINT] = inject('dynamodb').url

testBackendContract({
  name: 'dynamodb',
  capabilities: {
    durable: true,
    shared: true,
    wakeups: 'poll',
    clock: { maxErrorMs: 1000 },
    order: 'shard',
  },
  connect,
  processModule: new URL('./process.ts', import.meta.url),
  borrow: async (keyPrefix) => {
    const borrowed = client()
    return {
      backend: await DynamoDBBackend.fromClient(borrowed, { keyPrefix, shards: 2 }),
      isOpen: async () => Array.isArray((await borrowed.send(new ListTablesCommand())).TableNames),
      close: async () => borrowed.destroy(),
    }
  },
})
