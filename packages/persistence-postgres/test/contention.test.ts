import type { ClaimedTask } from '@sayiir/persistence-core'
import { PostgresBackend } from '@sayiir/persistence-postgres'
import postgres from 'postgres'
import { afterAll, expect, inject, test } from 'vitest'
import { atTask, codeOf, END, freshSchema, until } from './work.ts'

// What happens where somebody else has locked, or changes, the rows that a write needs.

const { url } = inject('postgres')
const admin = postgres(url, { max: 3, onnotice: () => {} })
afterAll(() => admin.end())

const TTL = { workerId: 'w', ttlMs: 600_000 }

/** A backend whose connections have settings of their own, and an instance of it that is claimed. */
async function claimedWith(settings: string, schema: string) {
  const options = { application_name: schema, ...(settings !== '' && { options: settings }) }
  const client = postgres(url, { max: 3, connection: options, onnotice: () => {} })
  const backend = await PostgresBackend.fromClient(client, { schema })
  await backend.saveSnapshot(atTask('i'))
  const [claimed] = await backend.claimAvailableTasks({ ...TTL, limit: 1 })
  return {
    backend,
    claimed: claimed as ClaimedTask,
    async [Symbol.asyncDispose]() {
      await backend.close()
      // Without a bound the driver waits for connections that were killed.
      await client.end({ timeout: 1 })
    },
  }
}

/** Waits until a connection of the backend waits for a lock. */
async function untilBlocked(schema: string): Promise<void> {
  await until(async () => {
    const rows = await admin`SELECT 1 FROM pg_stat_activity
      WHERE application_name = ${schema} AND wait_event_type = 'Lock'`
    return rows.length > 0
  })
}

/** Somebody else's transaction. */
async function transaction(): Promise<postgres.ReservedSql> {
  const other = await admin.reserve()
  await other`BEGIN`
  return other
}

const lockInstance = (other: postgres.ReservedSql, schema: string, id: string) =>
  other.unsafe(`SELECT FROM ${schema}.instance WHERE id = $1 FOR UPDATE`, [id])

test('a deadlock is retried, and the commits land once', async () => {
  const schema = freshSchema()
  // Whoever has waited this long looks for a deadlock, and gives way: so it is the backend.
  await using held = await claimedWith('-c deadlock_timeout=2000', schema)
  await held.backend.saveSnapshot(atTask('j'))
  const [another] = await held.backend.claimAvailableTasks({ ...TTL, limit: 1 })
  const other = await transaction()
  await other`SET LOCAL deadlock_timeout = '60s'`
  await lockInstance(other, schema, 'j')
  const committed = Promise.all(
    [held.claimed, another!].map(({ claim }) => held.backend.commitTask({ claim, outcome: END })),
  )
  await untilBlocked(schema)
  // The commits have the row of the one instance, and want that of the other.
  await lockInstance(other, schema, 'i')
  await other`COMMIT`
  other.release()
  const receipt = { revision: 2, status: 'completed', next: null }
  expect(await committed).toEqual([receipt, receipt])
  for (const id of ['i', 'j']) expect((await held.backend.loadSnapshot(id)).revision).toBe(2)
  await until(async () => {
    const [row] = await admin`SELECT sum(deadlocks)::int AS deadlocks FROM pg_stat_database`
    return row?.deadlocks > 0
  })
})

test('a serialization failure is retried, and the commit lands once', async () => {
  const schema = freshSchema()
  await using held = await claimedWith('-c default_transaction_isolation=serializable', schema)
  const other = await transaction()
  await other.unsafe(`UPDATE ${schema}.instance SET has_events = has_events`)
  const committed = held.backend.commitTask({ claim: held.claimed.claim, outcome: END })
  await untilBlocked(schema)
  // Now the row that the commit waits for is another one than in its snapshot of the database.
  await other`COMMIT`
  other.release()
  expect(await committed).toEqual({ revision: 2, status: 'completed', next: null })
  expect((await held.backend.loadSnapshot('i')).revision).toBe(2)
})

test.each(['serializable', 'repeatable read'])(
  'workers of databases that are %s by default lose nothing',
  async (isolation) => {
    const schema = freshSchema()
    const settings = `-c default_transaction_isolation=${isolation.replace(' ', '\\ ')}`
    await using held = await claimedWith(settings, schema)
    const { backend } = held
    await backend.commitTask({ claim: held.claimed.claim, outcome: END })
    const ids = Array.from({ length: 60 }, (_, index) => `i${index}`)
    await Promise.all(ids.map((id) => backend.saveSnapshot(atTask(id))))
    const done: string[] = []
    await Promise.all(
      ['w1', 'w2', 'w3'].map(async (workerId) => {
        while (done.length < ids.length) {
          const claimed = await backend.claimAvailableTasks({ ...TTL, workerId, limit: 5 })
          await Promise.all(
            claimed.map(async ({ claim }) => {
              await backend.commitTask({ claim, outcome: END })
              done.push(claim.instanceId)
            }),
          )
        }
      }),
    )
    expect(done.sort()).toEqual(ids.sort())
  },
)

test.each([
  ['lock_timeout', '-c lock_timeout=300'],
  ['statement_timeout', '-c statement_timeout=1000'],
])('%s: a row that somebody else keeps is UNAVAILABLE; then all goes on', async (_, settings) => {
  const schema = freshSchema()
  await using held = await claimedWith(settings, schema)
  const commit = { claim: held.claimed.claim, outcome: END }
  const other = await transaction()
  await lockInstance(other, schema, 'i')
  expect(await codeOf(held.backend.commitTask(commit))).toBe('UNAVAILABLE')
  // The others are not kept up by it.
  await held.backend.saveSnapshot(atTask('j'))
  const [next] = await held.backend.claimAvailableTasks({ ...TTL, limit: 5 })
  expect(next?.claim.instanceId).toBe('j')
  await other`ROLLBACK`
  other.release()
  expect(await held.backend.commitTask(commit)).toMatchObject({ revision: 2, status: 'completed' })
})

test('lock_timeout: a row that somebody else keeps fails its own commit, and none beside it', async () => {
  const schema = freshSchema()
  await using held = await claimedWith('-c lock_timeout=300', schema)
  const { backend } = held
  await Promise.all(['j', 'k'].map((id) => backend.saveSnapshot(atTask(id))))
  const others = await backend.claimAvailableTasks({ ...TTL, limit: 2 })
  const other = await transaction()
  await lockInstance(other, schema, 'i')
  const [first, ...rest] = await Promise.allSettled(
    [held.claimed, ...others].map(({ claim }) => backend.commitTask({ claim, outcome: END })),
  )
  await other`ROLLBACK`
  other.release()
  expect(first).toMatchObject({ status: 'rejected', reason: { code: 'UNAVAILABLE' } })
  expect(rest.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled'])
})

test('an instance that somebody makes at the same moment is found, and others are made', async () => {
  const schema = freshSchema()
  await using held = await claimedWith('', schema)
  const { backend } = held
  const other = await transaction()
  const columns = await admin`SELECT column_name AS name FROM information_schema.columns
    WHERE table_schema = ${schema} AND table_name = 'instance'`
  const changed: Record<string, string> = { id: `'x'`, key: '-1', generation: 'gen_random_uuid()' }
  await other.unsafe(`INSERT INTO ${schema}.instance (${columns.map(({ name }) => name)})
    SELECT ${columns.map(({ name }) => changed[name] ?? name)} FROM ${schema}.instance`)
  const saved = Promise.allSettled(
    ['w', 'x', 'y'].map((id) => backend.saveSnapshot(atTask(id), { expectedRevision: 0 })),
  )
  await untilBlocked(schema)
  await other`COMMIT`
  other.release()
  expect(await saved).toMatchObject([
    { status: 'fulfilled', value: { revision: 1 } },
    { status: 'rejected', reason: { code: 'CONFLICT' } },
    { status: 'fulfilled', value: { revision: 1 } },
  ])
  const tasks = await admin`SELECT instance_id AS id FROM ${admin(schema)}.task ORDER BY 1`
  expect(tasks.map(({ id }) => id)).toEqual(['i', 'w', 'y'])
  expect((await backend.stats()).byStatus['in-progress']).toBe(3)
})

test('a connection that is killed in the middle of a write is UNAVAILABLE; repeated, it lands once', async () => {
  const schema = freshSchema()
  await using held = await claimedWith('', schema)
  const commit = { claim: held.claimed.claim, outcome: END }
  const other = await transaction()
  await lockInstance(other, schema, 'i')
  const committed = codeOf(held.backend.commitTask(commit))
  await untilBlocked(schema)
  await admin`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ${schema}`
  expect(await committed).toBe('UNAVAILABLE')
  await other`ROLLBACK`
  other.release()
  expect(await held.backend.commitTask(commit)).toMatchObject({ revision: 2, status: 'completed' })
})
