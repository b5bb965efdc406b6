import { createSnapshot, type WorkflowSnapshot } from '@sayiir/persistence-core'
import { PostgresBackend } from '@sayiir/persistence-postgres'
import postgres from 'postgres'
import { afterAll, expect, inject, test } from 'vitest'
import { atTask, freshSchema, until } from './work.ts'

const { url } = inject('postgres')
const admin = postgres(url, { max: 1, onnotice: () => {} })
afterAll(() => admin.end())

/** Longer than a test runs. */
const LONG = { timeoutMs: 600_000 }

function tagged(instanceId: string, tag: string): WorkflowSnapshot {
  const position = { kind: 'at-task', taskId: 'a' } as const
  return createSnapshot({ instanceId, definitionHash: 'd', position, tags: [tag] })
}

/** Waits until a backend is to be notified, of so many routes if that is given; null: of all. */
function untilArmed(schema: string, routes?: number | null): Promise<void> {
  return until(async () => {
    const rows = await admin`SELECT cardinality(routes) AS routes FROM ${admin(schema)}.waiter
      WHERE armed`
    return rows.some((row) => routes === undefined || row.routes === routes)
  })
}

test('D9: waits of one backend for different work are all notified', async () => {
  const schema = freshSchema()
  await using backend = await PostgresBackend.connect({ url, schema })
  await using other = await PostgresBackend.connect({ url, schema })
  await Promise.all([tagged('i', 'x'), tagged('j', 'y')].map((one) => backend.saveSnapshot(one)))
  await backend.claimAvailableTasks({ workerId: 'w', limit: 2, ttlMs: 600_000 })
  const forX = backend.waitForWakeup({ ...LONG, tags: ['x'] })
  await untilArmed(schema, 1)
  const forY = backend.waitForWakeup({ ...LONG, tags: ['y'] })
  await untilArmed(schema, 2)
  await other.saveSnapshot(tagged('k', 'x'))
  expect(await forX).toMatchObject({ instanceId: 'k' })
  await untilArmed(schema)
  await other.saveSnapshot(tagged('l', 'y'))
  expect(await forY).toMatchObject({ instanceId: 'l' })
})

test('D9: where very many wait, all are told to look', async () => {
  const schema = freshSchema()
  await using backend = await PostgresBackend.connect({ url, schema })
  await using other = await PostgresBackend.connect({ url, schema })
  const waiting = backend.waitForWakeup(LONG)
  await untilArmed(schema, null)
  await admin`INSERT INTO ${admin(schema)}.waiter
    SELECT gen_random_uuid(), until, true, routes, last_route FROM ${admin(schema)}.waiter,
      generate_series(1, 50)`
  await other.saveSnapshot(atTask('i'))
  expect(await waiting).toMatchObject({ instanceId: 'i', taskId: 'a' })
})

test('D9: one that is notified of a task knows it, and others are not notified again', async () => {
  const schema = freshSchema()
  await using backend = await PostgresBackend.connect({ url, schema })
  await using other = await PostgresBackend.connect({ url, schema })
  const waiting = backend.waitForWakeup(LONG)
  await untilArmed(schema, null)
  await other.saveSnapshot(atTask('i'))
  expect(await waiting).toEqual({ instanceId: 'i', taskId: 'a', definitionHash: 'd' })
  expect(await admin`SELECT FROM ${admin(schema)}.waiter WHERE armed`).toHaveLength(0)
})
