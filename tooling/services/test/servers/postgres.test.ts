import postgres from 'postgres'
import { expect, test } from 'vitest'
import { startService } from '../../src/index.ts'
import { connectPostgres } from './postgres-client.ts'
import { serverSuite } from './server-suite.ts'

serverSuite({ name: 'postgres', product: /^PostgreSQL 18\./, connect: connectPostgres })
serverSuite({ name: 'postgres-oldest', product: /^PostgreSQL 1[45]\./, connect: connectPostgres })
serverSuite({ name: 'pgbouncer', product: /^PgBouncer 1\.\d+/, connect: connectPostgres })

test('pgbouncer gives a server connection to a client for one transaction', async () => {
  const server = await startService('pgbouncer')
  const clients = [1, 2].map(() => postgres(server.url, { max: 1, prepare: false }))
  try {
    const backends = new Set<number>()
    for (const sql of clients) {
      const [row] = await sql`select pg_backend_pid() as pid`
      backends.add(row?.pid)
    }
    expect(backends.size).toBe(1)
  } finally {
    for (const sql of clients) await sql.end({ timeout: 1 })
    await server.stop()
  }
})
