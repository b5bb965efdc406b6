import { PostgresBackend } from '@sayiir/persistence-postgres'
import postgres from 'postgres'
import { expect, inject, test } from 'vitest'
import { atTask, END, freshSchema } from './work.ts'

const { url } = inject('postgres')

test.each([1, 10])(
  'with 500 calls in flight on %i connections all go through',
  async (most) => {
    const options = { url, schema: freshSchema(), maxConnections: most }
    await using backend = await PostgresBackend.connect(options)
    const ids = Array.from({ length: 500 }, (_, index) => `i${index}`)
    await Promise.all(ids.map((id) => backend.saveSnapshot(atTask(id))))
    const claims = await Promise.all(
      ids.map((instanceId) =>
        backend.claimTask({ instanceId, taskId: 'a', workerId: 'w', ttlMs: 60_000 }),
      ),
    )
    await Promise.all(claims.map((claim) => backend.renewTaskClaim(claim!, 60_000)))
    await Promise.all(claims.map((claim) => backend.commitTask({ claim: claim!, outcome: END })))
    const loaded = await Promise.all(ids.map((id) => backend.loadSnapshot(id)))
    expect(new Set(loaded.map(({ state }) => state.status))).toEqual(new Set(['completed']))
  },
  60_000,
)

test('time-outs that the database has are no hindrance', async () => {
  const options = '-c statement_timeout=5000 -c lock_timeout=2000'
  const client = postgres(url, { max: 3, connection: { options }, onnotice: () => {} })
  await using backend = await PostgresBackend.fromClient(client, { schema: freshSchema() })
  await backend.saveSnapshot(atTask('i'))
  expect(await backend.waitForWakeup({ timeoutMs: 1000 })).toMatchObject({ instanceId: 'i' })
  await backend.close()
  await client.end()
})

test('a client with types and transforms of its own gives the same', async () => {
  const client = postgres(url, {
    max: 2,
    fetch_types: false,
    transform: postgres.camel,
    types: { bigint: postgres.BigInt },
    connection: { bytea_output: 'escape', standard_conforming_strings: 'off' } as object,
    onnotice: () => {},
  })
  const schema = freshSchema()
  const backend = await PostgresBackend.fromClient(client, { schema })
  const initialInput = Uint8Array.from({ length: 256 }, (_, index) => index)
  await backend.saveSnapshot({ ...atTask('i\\"{}\'%_'), initialInput })
  const [claimed] = await backend.claimAvailableTasks({ workerId: '\\', limit: 5, ttlMs: 1000 })
  expect(claimed?.task.input).toEqual(initialInput)
  expect((await backend.loadSnapshot('i\\"{}\'%_')).initialInput).toEqual(initialInput)
  await backend.close()
  await client.end()
})

test('calls that come one by one stay on a connection; those that overlap get others, as many as may be', async () => {
  const schema = freshSchema()
  const admin = postgres(url, { max: 1, onnotice: () => {} })
  const connections = async (): Promise<number> => {
    const [row] = await admin`SELECT count(*)::int AS count FROM pg_stat_activity
      WHERE query LIKE ${`%"${schema}"%`} AND pid <> pg_backend_pid()`
    return row?.count
  }
  await using backend = await PostgresBackend.connect({ url, schema, maxConnections: 3 })
  const ids = Array.from({ length: 20 }, (_, index) => `i${index}`)
  for (const id of ids) {
    await backend.saveSnapshot(atTask(id))
    await backend.loadSnapshot(id)
  }
  expect(await connections()).toBe(1)
  await Promise.all(ids.map((id) => backend.loadSnapshot(id)))
  expect(await connections()).toBe(3)
  await admin.end()
})
