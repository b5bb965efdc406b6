import type { TaskOutcome } from '@sayiir/persistence-core'
import { PostgresBackend } from '@sayiir/persistence-postgres'
import postgres from 'postgres'
import { afterAll, expect, inject, test } from 'vitest'
import { atTask, END, freshSchema, until } from './work.ts'

const { url } = inject('postgres')
const admin = postgres(url, { max: 1, onnotice: () => {} })
const folder = postgres(url, { max: 2, onnotice: () => {} })
afterAll(() => Promise.all([admin.end(), folder.end()]))

/** As many instances like the one that there is, but for when they are due or ended. */
async function multiply(schema: string, count: number, queueAt: string): Promise<void> {
  const columns = await admin`SELECT column_name AS name FROM information_schema.columns
    WHERE table_schema = ${schema} AND table_name = 'work'`
  const changed: Record<string, string> = {
    key: '-n.i',
    id: `'${queueAt}-' || n.i`,
    queue_at: queueAt,
    ended_at: 't.ended_at - n.i',
  }
  await admin.unsafe(`INSERT INTO ${schema}.work (${columns.map(({ name }) => name)})
    SELECT ${columns.map(({ name }) => changed[name] ?? `t.${name}`)}
    FROM ${schema}.work t, generate_series(1, ${count}) AS n (i) WHERE t.key > 0`)
}

test('M1: stats of a queue too large to be counted are about right', async () => {
  const schema = freshSchema()
  await using backend = await PostgresBackend.connect({ url, schema })
  await backend.saveSnapshot(atTask('i'))
  await multiply(schema, 60_000, '0')
  await multiply(schema, 30_000, '253402300799999')
  const { available, claimed, oldestAvailableAgeMs } = await backend.stats()
  expect(available).toBeGreaterThan(48_000)
  expect(available).toBeLessThan(72_000)
  expect(claimed).toBe(0)
  // Counted from the first entry of the queue, not from a sample.
  expect(oldestAvailableAgeMs).toBeGreaterThan(1e12)
})

test('M1: stats of a queue that is as large as what is counted are exact', async () => {
  const schema = freshSchema()
  await using backend = await PostgresBackend.connect({ url, schema })
  await backend.saveSnapshot(atTask('i'))
  await multiply(schema, 9_000, '1')
  await multiply(schema, 20_000, '253402300799999')
  expect(await backend.stats()).toMatchObject({ available: 9_001, claimed: 0 })
})

test('M2: pruning reads nothing of what ended otherwise', async () => {
  const schema = freshSchema()
  await using backend = await PostgresBackend.connect({ url, schema, maxConnections: 1 })
  const endAs = async (instanceId: string, outcome: TaskOutcome) => {
    await backend.saveSnapshot(atTask(instanceId))
    const task = { instanceId, taskId: 'a', workerId: 'w', ttlMs: 60_000 }
    const claim = await backend.claimTask(task)
    if (claim !== null) await backend.commitTask({ claim, outcome })
  }
  await endAs('completed', END)
  await multiply(schema, 20_000, '0')
  await endAs('failed', { kind: 'failed', error: 'broken' })
  const read = async (): Promise<number> => {
    const [row] = await admin`SELECT (idx_blks_read + idx_blks_hit)::int AS blocks
      FROM pg_statio_user_indexes WHERE schemaname = ${schema} AND indexrelname = 'work_ended'`
    return row?.blocks ?? 0
  }
  await using other = await PostgresBackend.connect({ url, schema, maxConnections: 1 })
  await backend.close()
  await until(async () => (await read()) > 20_000)
  const before = await read()
  const params = { endedBefore: 253_402_300_799_999, statuses: ['failed'] as const }
  expect(await other.prune(params)).toEqual({ deleted: 1, more: false })
  expect(await other.prune(params)).toEqual({ deleted: 0, more: false })
  await other.close()
  await until(async () => (await read()) > before)
  expect((await read()) - before).toBeLessThan(30)
})

test('M1: rows that count instances are made few, and the numbers stay right meanwhile', async () => {
  const schema = freshSchema()
  await using backend = await PostgresBackend.connect({ url, schema })
  await using other = await PostgresBackend.connect({ url, schema })
  const fold = () => folder.unsafe(`SELECT ${schema}.fold_counts()`)
  const ids = Array.from({ length: 120 }, (_, index) => `i${index}`)
  const counts: number[] = []
  for (const [index, id] of ids.entries()) {
    // A lone one each, and those who fold at the same time leave each other's rows alone.
    const [, { byStatus }] = await Promise.all([
      backend.saveSnapshot(atTask(id)),
      other.stats(),
      ...(index % 10 === 0 ? [fold(), fold()] : []),
    ])
    counts.push(byStatus['in-progress'] - index)
  }
  expect(counts.filter((beside) => beside !== 0 && beside !== 1)).toEqual([])
  await Promise.all(ids.slice(0, 20).map((id) => backend.deleteSnapshot(id)))
  await fold()
  const rows = await admin.unsafe(`SELECT status, instances::integer FROM ${schema}.instance_count`)
  expect([...rows]).toEqual([{ status: 'in-progress', instances: 100 }])
  expect(await backend.stats()).toMatchObject({ byStatus: { 'in-progress': 100 } })
})
