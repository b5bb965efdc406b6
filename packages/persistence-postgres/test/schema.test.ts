import { migrate, PostgresBackend } from '@sayiir/persistence-postgres'
import postgres from 'postgres'
import { afterAll, expect, inject, test } from 'vitest'
import { MIGRATIONS } from '../src/migrations/index.ts'
import { atTask, END, freshSchema } from './work.ts'

const { url } = inject('postgres')
const admin = postgres(url, { max: 1, onnotice: () => {} })
afterAll(() => admin.end())

/** Everything that is in a schema. */
async function contents(schema: string): Promise<unknown> {
  return admin`SELECT relname, relkind FROM pg_class
    WHERE relnamespace = ${schema}::regnamespace ORDER BY relname`
}

test('M4: twenty that set an empty database up at once, set it up once', async () => {
  const schema = freshSchema()
  await Promise.all(Array.from({ length: 20 }, () => migrate({ url, schema })))
  const rows = await admin`SELECT version, name FROM ${admin(schema)}.migration ORDER BY version`
  expect(rows.map(({ version }) => version)).toEqual(MIGRATIONS.map((_, index) => index + 1))
  await migrate({ url, schema })
  expect(await admin`SELECT count(*)::int FROM ${admin(schema)}.migration`).toEqual([
    { count: MIGRATIONS.length },
  ])
})

test('M4: a newer schema is refused and stays as it is', async () => {
  const schema = freshSchema()
  await migrate({ url, schema })
  await admin`INSERT INTO ${admin(schema)}.migration VALUES (${MIGRATIONS.length + 1}, 'later', 'x', now())`
  const before = await contents(schema)
  await expect(PostgresBackend.connect({ url, schema })).rejects.toMatchObject({ code: 'SCHEMA' })
  await expect(migrate({ url, schema })).rejects.toMatchObject({ code: 'SCHEMA' })
  expect(await contents(schema)).toEqual(before)
})

test('M4: a migration that is not the known one is refused', async () => {
  const schema = freshSchema()
  await migrate({ url, schema })
  await admin`UPDATE ${admin(schema)}.migration SET checksum = 'other' WHERE version = 2`
  await expect(PostgresBackend.connect({ url, schema })).rejects.toMatchObject({ code: 'SCHEMA' })
})

test('M4: without migrate, missing tables are told, and nothing is made', async () => {
  const schema = freshSchema()
  const connected = PostgresBackend.connect({ url, schema, migrate: false })
  await expect(connected).rejects.toMatchObject({ code: 'SCHEMA' })
  expect(await admin`SELECT 1 FROM pg_namespace WHERE nspname = ${schema}`).toEqual([])
})

test('M5: the least privileges of the README are enough to run', async () => {
  const schema = freshSchema()
  const role = `${schema}_worker`
  await migrate({ url, schema })
  await admin.unsafe(`
    CREATE ROLE ${role} LOGIN PASSWORD 'pw';
    GRANT USAGE ON SCHEMA ${schema} TO ${role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${schema} TO ${role};
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA ${schema} TO ${role};
    REVOKE INSERT, UPDATE, DELETE ON ${schema}.migration FROM ${role};
  `)
  const asWorker = new URL(url)
  asWorker.username = role
  asWorker.password = 'pw'
  await using backend = await PostgresBackend.connect({
    url: asWorker.href,
    schema,
    migrate: false,
  })
  await backend.saveSnapshot(atTask('i'))
  const [claimed] = await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 10_000 })
  await backend.commitTask({ claim: claimed!.claim, outcome: END })
  expect(await backend.waitForWakeup({ timeoutMs: 50 })).toBeNull()
  await backend.checkHealth()
  expect((await backend.stats()).byStatus.completed).toBe(1)
  expect(await backend.prune({ endedBefore: Date.now() + 60_000 })).toMatchObject({ deleted: 1 })
})
