import {
  type ClaimedTask,
  type CreateSnapshotParams,
  createSnapshot,
  type WorkerFilter,
} from '@sayiir/persistence-core'
import { PostgresBackend } from '@sayiir/persistence-postgres'
import postgres from 'postgres'
import { describe, expect, inject, onTestFinished, test } from 'vitest'
import { freshSchema, until } from './work.ts'

const { url } = inject('postgres')
const TTL_MS = 60_000

async function save(
  backend: PostgresBackend,
  instanceId: string,
  params: Partial<CreateSnapshotParams> = {},
): Promise<void> {
  const position = { kind: 'at-task', taskId: 'a' } as const
  await backend.saveSnapshot(
    createSnapshot({ instanceId, definitionHash: 'd', position, ...params }),
  )
}

const claim = (
  backend: PostgresBackend,
  limit: number,
  filter: WorkerFilter = {},
  ttlMs: number | null = TTL_MS,
): Promise<ClaimedTask[]> => backend.claimAvailableTasks({ workerId: 'w', limit, ttlMs, ...filter })

const ids = (claimed: readonly ClaimedTask[]): string[] =>
  claimed.map(({ task }) => task.instanceId)

/** Claims until a claim leans on what the one before told of the queue. */
async function settled(limit: number, filter?: WorkerFilter): Promise<PostgresBackend> {
  const backend = await PostgresBackend.connect({ url, schema: freshSchema() })
  for (let index = 0; index < 2; index += 1) await save(backend, `first-${index}`)
  expect(ids(await claim(backend, 1, filter))).toEqual(['first-0'])
  expect(ids(await claim(backend, limit, filter))).toEqual(['first-1'])
  return backend
}

describe.each([1, 3])('what a claim of %i was told of the queue by the last', (limit) => {
  test('hides no better task', async () => {
    await using backend = await settled(limit)
    await save(backend, 'usual')
    await save(backend, 'better', { priority: 1 })
    await save(backend, 'worse', { priority: 5 })
    const claimed: string[] = []
    for (let index = 0; index < 3; index += 1) claimed.push(...ids(await claim(backend, limit)))
    expect(claimed).toEqual(['better', 'usual', 'worse'])
  })

  test('hides no task whose claim has expired', async () => {
    await using backend = await settled(limit)
    await save(backend, 'lost')
    expect(ids(await claim(backend, limit, {}, 1))).toEqual(['lost'])
    await save(backend, 'later')
    const claimed: string[] = []
    await until(async () => claimed.push(...ids(await claim(backend, limit))) >= 2)
    expect(claimed.toSorted()).toEqual(['later', 'lost'])
  })

  test('hides no control signal', async () => {
    await using backend = await settled(limit)
    await save(backend, 'stopped')
    await save(backend, 'next')
    await backend.storeSignal('stopped', 'cancel')
    expect(ids(await claim(backend, limit))).toEqual(['next'])
    expect((await backend.loadSnapshot('stopped')).state.status).toBe('cancelled')
  })

  test('hides no timer', async () => {
    await using backend = await settled(limit)
    const wakeAt = Date.now() - 1
    await save(backend, 'late', {
      position: { kind: 'at-delay', delayId: 'd', enteredAt: wakeAt - 1, wakeAt, nextTaskId: null },
    })
    await save(backend, 'next')
    expect(ids(await claim(backend, limit))).toEqual(['next'])
    await until(async () => {
      await claim(backend, limit)
      return (await backend.loadSnapshot('late')).state.status === 'completed'
    })
  })

  test('gives no task that the worker does not take', async () => {
    await using backend = await settled(limit, { definitionHashes: ['d'] })
    await save(backend, 'other', { definitionHash: 'other' })
    await save(backend, 'own')
    expect(ids(await claim(backend, limit, { definitionHashes: ['d'] }))).toEqual(['own'])
    expect(await claim(backend, limit, { definitionHashes: ['d'] })).toEqual([])
    expect(ids(await claim(backend, limit, { definitionHashes: ['other'] }))).toEqual(['other'])
  })

  test('gives claims for ever, and of a task what it needs', async () => {
    await using backend = await settled(limit)
    await save(backend, 'i', { initialInput: new Uint8Array([1, 2]) })
    const [first] = await claim(backend, limit, {}, null)
    expect(first?.claim.expiresAt).toBeNull()
    expect(first?.task.input).toEqual(new Uint8Array([1, 2]))
    const output = new Uint8Array([3])
    const position = { kind: 'at-task', taskId: 'b' } as const
    await backend.commitTask({
      claim: first!.claim,
      outcome: { kind: 'completed', output, next: { position } },
    })
    await save(backend, 'another')
    const [second] = await claim(backend, limit)
    expect(second?.task).toMatchObject({ taskId: 'b', input: output, deliveries: 1, attempt: 1 })
    expect(second?.head).toMatchObject({ instanceId: 'i', revision: 2 })
  })

  test('gives the tasks of a fork', async () => {
    await using backend = await settled(limit)
    await save(backend, 'i', {
      position: {
        kind: 'at-fork',
        forkId: 'f',
        pendingTasks: [{ taskId: 'x' }, { taskId: 'y' }],
        join: { taskId: 'j' },
        completedBranches: new Map(),
        wakeAt: null,
      },
    })
    const claimed: ClaimedTask[] = []
    await until(async () => claimed.push(...(await claim(backend, limit))) >= 2)
    expect(claimed.map(({ task }) => task.taskId).toSorted()).toEqual(['x', 'y'])
    expect(claimed.every(({ head }) => head.instanceId === 'i')).toBe(true)
  })

  test('gives no task to two that claim at the same moment', async () => {
    await using backend = await settled(limit)
    const schema = freshSchema()
    const others = await Promise.all(
      Array.from({ length: 4 }, () => PostgresBackend.connect({ url, schema })),
    )
    try {
      const [first] = others as [PostgresBackend, ...PostgresBackend[]]
      const count = 100
      await Promise.all(Array.from({ length: count }, (_, index) => save(first, `i${index}`)))
      const claimed: string[] = []
      await Promise.all(
        others.map(async (other) => {
          for (let none = 0; none < 3; ) {
            const own = ids(await claim(other, limit))
            claimed.push(...own)
            if (own.length === 0) none += 1
          }
        }),
      )
      expect(claimed).toHaveLength(count)
      expect(new Set(claimed).size).toBe(count)
    } finally {
      await Promise.all(others.map((other) => other.close()))
    }
    expect(await claim(backend, limit)).toEqual([])
  })
})

test.each([
  ['postgres', 1],
  ['postgres', 2],
  ['postgres-oldest', 1],
  ['postgres-oldest', 2],
] as const)(
  '%s: claims of %i, planned when the tables were empty, read a few entries each',
  async (server, limit) => {
    const { url } = inject(server)
    const admin = postgres(url, { max: 1, onnotice: () => {} })
    onTestFinished(() => admin.end())
    const schema = freshSchema()
    await using backend = await PostgresBackend.connect({ url, schema, maxConnections: 1 })
    await Promise.all(
      Array.from({ length: 3 * limit }, (_, index) => save(backend, `first-${index}`)),
    )
    for (let index = 0; index < 3; index += 1) await claim(backend, limit)
    const count = 400
    await Promise.all(Array.from({ length: count }, (_, index) => save(backend, `i${index}`)))
    const read = async (): Promise<{ rows: number; entries: number; whole: number }> => {
      const [row] =
        await admin`SELECT sum(idx_tup_fetch)::int AS rows, sum(seq_tup_read)::int AS whole,
        (SELECT sum(idx_tup_read)::int FROM pg_stat_user_indexes WHERE schemaname = ${schema}) AS entries
      FROM pg_stat_user_tables WHERE schemaname = ${schema} AND relname = 'work'`
      return row as { rows: number; entries: number; whole: number }
    }
    for (let left = count; left > 0; left -= limit) {
      const [claimed] = await claim(backend, limit)
      expect(claimed).toBeDefined()
    }
    await backend.close()
    await until(async () => (await read()).rows > count)
    const { rows, entries, whole } = await read()
    expect(rows).toBeLessThan(count * 10)
    expect(entries).toBeLessThan(count * 30)
    expect(whole).toBeLessThan(count)
  },
)
