import { DeleteTableCommand, ListTablesCommand } from '@aws-sdk/client-dynamodb'
import { testBackendContract } from '@sayiir/persistence-core/contract'
import { DynamoDBBackend } from '@sayiir/persistence-dynamodb'
import { afterAll, inject } from 'vitest'
import { client, connect, ENDPOINT } from './process.ts'

// The suite's processes inherit it.
process.env[ENDPOINT] = inject('dynamodb').url

const admin = client()
afterAll(() => admin.destroy())
/** Most namespaces are keys in one table; what is set up apart has a table of its own. */
const tables = new Set<string>()

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
  drop: async (namespace) => {
    if (tables.delete(namespace)) await admin.send(new DeleteTableCommand({ TableName: namespace }))
  },
  // Which actions that takes is a matter of policy.test.ts: DynamoDB Local has no users.
  leastPrivileges: {
    setUp: async (tableName) => {
      tables.add(tableName)
      await (await connect(tableName, { tableName })).close()
    },
    connect: (tableName, options) =>
      connect(tableName, { tableName, createTable: false, ...options }),
  },
})
