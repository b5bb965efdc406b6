import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { moveTo } from '@sayiir/persistence-core'
import { migrate, PostgresBackend } from '@sayiir/persistence-postgres'
import postgres from 'postgres'
import { afterAll, expect, inject, test } from 'vitest'
import { MIGRATIONS } from '../src/migrations/index.ts'
import { admit, makeWorker } from './least-privileges.ts'
import { atTask, END, freshSchema } from './work.ts'

const { url } = inject('postgres')
const bytes = new Uint8Array([1, 2, 3])
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

test.each(MIGRATIONS.slice(1).map((_, index) => index + 1))(
  'M4: tables of version %i are brought up to date',
  async (version) => {
    const schema = freshSchema()
    await admin.unsafe(`CREATE SCHEMA ${schema};
    CREATE TABLE ${schema}.migration (version integer PRIMARY KEY, name text NOT NULL,
      checksum text NOT NULL, applied_at timestamptz NOT NULL)`)
    for (const [index, { name, sql }] of MIGRATIONS.slice(0, version).entries()) {
      await admin.unsafe(sql.replaceAll('{s}', schema).replaceAll('{c}', `sayiir_${schema}`))
      const checksum = createHash('sha256').update(sql).digest('hex')
      await admin`INSERT INTO ${admin(schema)}.migration VALUES (${index + 1}, ${name}, ${checksum}, now())`
    }
    await expect(PostgresBackend.connect({ url, schema, migrate: false })).rejects.toMatchObject({
      code: 'SCHEMA',
    })
    await using backend = await PostgresBackend.connect({ url, schema })
    await backend.saveSnapshot(atTask('i'))
    const [claimed] = await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 10_000 })
    await backend.commitTask({ claim: claimed!.claim, outcome: END })
    expect((await backend.stats()).byStatus.completed).toBe(1)
  },
)

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

test('every column says what it is', async () => {
  const schema = freshSchema()
  await migrate({ url, schema })
  const rows = await admin`SELECT c.relname || '.' || a.attname AS name
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = ${schema}::regnamespace AND c.relkind = 'r' AND c.relname <> 'migration'
      AND a.attnum > 0 AND NOT a.attisdropped AND col_description(c.oid, a.attnum) IS NULL`
  expect(rows).toEqual([])
})

test('outputs can be partitioned by age, as the README shows', async () => {
  const schema = freshSchema()
  await migrate({ url, schema })
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')
  const shown = /```sql\n(ALTER TABLE sayiir\.result RENAME[^`]*)```/.exec(readme)?.[1]
  if (shown === undefined) expect.fail('the README does not show it')
  await admin.unsafe(shown.replaceAll('sayiir.', `${schema}.`))
  await using backend = await PostgresBackend.connect({ url, schema })
  const ids = Array.from({ length: 20 }, (_, index) => `i${index}`)
  await Promise.all(ids.map((id) => backend.saveSnapshot(atTask(id))))
  const claimed = await backend.claimAvailableTasks({ workerId: 'w', limit: 20, ttlMs: 10_000 })
  await Promise.all(claimed.map(({ claim }) => backend.commitTask({ claim, outcome: END })))
  for (const id of ids) expect(await backend.loadTaskResult(id, 'a')).toEqual(new Uint8Array([1]))
  expect(await backend.prune({ endedBefore: Date.now() + 60_000 })).toMatchObject({ deleted: 20 })
  expect(await admin`SELECT FROM ${admin(schema)}.result`).toHaveLength(0)
})

test('M5: the least privileges of the README are enough to run', async () => {
  const schema = freshSchema()
  const worker = await makeWorker(url, `${schema}_worker`)
  await admit(worker, schema)
  await using backend = await PostgresBackend.connect({
    url: worker.url,
    schema,
    migrate: false,
  })
  await backend.saveSnapshot(atTask('i'))
  const [claimed] = await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 10_000 })
  await backend.commitTask({ claim: claimed!.claim, outcome: END })
  expect(await backend.waitForWakeup({ timeoutMs: 50 })).toBeNull()
  await backend.checkHealth()
  const fork = {
    kind: 'at-fork',
    forkId: 'f',
    pendingTasks: [{ taskId: 'x' }, { taskId: 'y', tags: ['new'] }],
    join: { taskId: 'j' },
    completedBranches: new Map(),
    wakeAt: null,
  } as const
  await backend.saveSnapshot(moveTo(atTask('forked'), fork))
  for (const { claim } of await backend.claimAvailableTasks({
    ...{ workerId: 'w', limit: 5, ttlMs: 10_000 },
  })) {
    await backend.renewTaskClaim(claim, 10_000)
    const outcome = { kind: 'completed', output: bytes, next: { branch: null } } as const
    await backend.commitTask({ claim, outcome, claimNext: { ttlMs: 10_000 } })
  }
  await backend.sendEvent('forked', 'e', bytes, { eventId: '1' })
  expect(await backend.consumeEvent('forked', 'e')).toEqual(bytes)
  await backend.storeSignal('forked', 'cancel')
  expect(await backend.checkAndCancel('forked')).toBe(true)
  expect((await backend.loadSnapshot('forked')).state.completedTasks.size).toBe(2)
  expect(await Array.fromAsync(backend.listSnapshots())).toHaveLength(2)
  await backend.deleteSnapshot('forked')
  expect((await backend.stats()).byStatus.completed).toBe(1)
  // No more than that: neither the tables nor the versions can be changed.
  const sql = postgres(worker.url, { max: 1, onnotice: () => {} })
  for (const statement of [
    `ALTER TABLE ${schema}.task ADD COLUMN x integer`,
    `CREATE TABLE ${schema}.x ()`,
    `DELETE FROM ${schema}.migration`,
  ]) {
    await expect(sql.unsafe(statement)).rejects.toMatchObject({ code: '42501' })
  }
  await sql.end()
  expect(await backend.prune({ endedBefore: Date.now() + 60_000 })).toMatchObject({ deleted: 1 })
})
