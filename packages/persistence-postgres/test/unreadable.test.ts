import { PostgresBackend } from '@sayiir/persistence-postgres'
import postgres from 'postgres'
import { afterAll, expect, inject, test } from 'vitest'
import { atTask, codeOf, END, freshSchema } from './work.ts'

const { url } = inject('postgres')
const admin = postgres(url, { max: 1, onnotice: () => {} })
afterAll(() => admin.end())

const CLAIM = { workerId: 'w', ttlMs: 60_000 }

/** Instances of which what is stored of `bad` was written by a newer version. */
async function withBad(schema: string, ids: readonly string[]): Promise<PostgresBackend> {
  const backend = await PostgresBackend.connect({ url, schema })
  for (const id of ids) await backend.saveSnapshot(atTask(id))
  await admin`UPDATE ${admin(schema)}.work SET head = '{"v":99}' WHERE id = 'bad'`
  return backend
}

test('an instance that can not be read keeps nobody from the others', async () => {
  const schema = freshSchema()
  await using backend = await withBad(schema, ['a', 'bad', 'c', 'd', 'e'])
  const found = await backend.findAvailableTasks({ workerId: 'w', limit: 10 })
  expect(found.map(({ instanceId }) => instanceId)).toEqual(['a', 'c', 'd', 'e'])
  const several = await backend.claimAvailableTasks({ ...CLAIM, limit: 3 })
  expect(several.map(({ task }) => task.instanceId)).toEqual(['a', 'c'])
  // It is claimed like any other, and so out of the way until that expires.
  const rest = await Promise.all(
    [1, 2].map(() => backend.claimAvailableTasks({ ...CLAIM, limit: 1 })),
  )
  expect(rest.map(([claimed]) => claimed?.task.instanceId)).toEqual(['d', 'e'])
})

test('one that is all there is rejects, of calls in flight together for one of them', async () => {
  const schema = freshSchema()
  await using backend = await withBad(schema, ['a', 'bad', 'c'])
  const claims = [1, 2, 3].map(() => backend.claimAvailableTasks({ ...CLAIM, limit: 1 }))
  const outcomes = await Promise.allSettled(claims)
  expect(outcomes.map(codeOfOutcome)).toEqual(['a', 'SCHEMA', 'c'])
  expect(await backend.claimAvailableTasks({ ...CLAIM, limit: 1 })).toEqual([])
})

test('commits that bring one land, and say so', async () => {
  const schema = freshSchema()
  await using backend = await withBad(schema, ['a', 'b', 'bad'])
  const claimed = await backend.claimAvailableTasks({ ...CLAIM, limit: 2 })
  await backend.sendEvent('b', 'go', new Uint8Array([1]))
  // One by the short way, one that has events by the general one.
  for (const { claim } of claimed) {
    const receipt = await backend.commitTask({ claim, outcome: END, claimNext: { ttlMs: 60_000 } })
    expect(receipt).toMatchObject({ status: 'completed', next: null })
    await admin`UPDATE ${admin(schema)}.work SET worker_id = NULL, queue_class = ready_class,
      queue_at = available_since WHERE id = 'bad'`
  }
  expect(await codeOf(backend.loadSnapshot('bad'))).toBe('SCHEMA')
})

function codeOfOutcome(
  outcome: PromiseSettledResult<Awaited<ReturnType<PostgresBackend['claimAvailableTasks']>>>,
): unknown {
  return outcome.status === 'rejected'
    ? outcome.reason.code
    : outcome.value.map(({ task }) => task.instanceId).join()
}
