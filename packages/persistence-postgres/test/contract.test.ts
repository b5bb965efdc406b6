import { testBackendContract } from '@sayiir/persistence-core/contract'
import { PostgresBackend } from '@sayiir/persistence-postgres'
import postgres from 'postgres'
import { afterAll, inject } from 'vitest'
import { connect, passOn } from './process.ts'

const { url } = inject('postgres')
passOn(url)
const admin = postgres(url, { max: 2, onnotice: () => {} })
afterAll(() => admin.end())

testBackendContract({
  name: 'postgres',
  capabilities: { durable: true, shared: true, wakeups: 'push', clock: 'store', order: 'global' },
  connect,
  drop: async (namespace) => {
    await admin`DROP SCHEMA IF EXISTS ${admin(namespace)} CASCADE`
  },
  processModule: new URL('./process.ts', import.meta.url),
  borrow: async (namespace) => {
    const client = postgres(url, { max: 2, onnotice: () => {} })
    return {
      backend: await PostgresBackend.fromClient(client, { schema: namespace }),
      isOpen: async () => {
        const rows = await client`SELECT 1`.catch(() => [])
        return rows.length === 1
      },
      close: () => client.end(),
    }
  },
})
