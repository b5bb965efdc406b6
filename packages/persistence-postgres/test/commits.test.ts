import { type ClaimedTask, moveTo, type Position, type TaskOutcome } from '@sayiir/persistence-core'
import { PostgresBackend } from '@sayiir/persistence-postgres'
import postgres from 'postgres'
import { afterAll, expect, inject, test } from 'vitest'
import { atTask, codeOf, END, freshSchema, until } from './work.ts'

const { url } = inject('postgres')
const admin = postgres(url, { max: 1, onnotice: () => {} })
afterAll(() => admin.end())

const claimAll = (backend: PostgresBackend, limit: number): Promise<ClaimedTask[]> =>
  backend.claimAvailableTasks({ workerId: 'w', limit, ttlMs: 60_000 })

const stepTo = (taskId: string): TaskOutcome => ({
  kind: 'completed',
  output: new Uint8Array([7]),
  next: { position: { kind: 'at-task', taskId } },
})

/** The end of a branch of a fork. */
const BRANCH: TaskOutcome = {
  kind: 'completed',
  output: new Uint8Array([1]),
  next: { branch: null },
}

const forkOf = (taskIds: readonly string[]): Position => ({
  kind: 'at-fork',
  forkId: 'f',
  pendingTasks: taskIds.map((taskId) => ({ taskId })),
  join: { taskId: 'j' },
  completedBranches: new Map(),
  wakeAt: null,
})

/** A sum of a column of the tables' statistics, which come a little later. */
async function counted(schema: string, table: string, column: string): Promise<number> {
  const [row] = await admin`SELECT coalesce(sum(${admin(column)}), 0)::int AS sum
    FROM pg_stat_user_tables WHERE schemaname = ${schema} AND relname = ${table}`
  return row?.sum
}

test('of commits that travel together, one whose claim has changed hands fails alone', async () => {
  const schema = freshSchema()
  await using backend = await PostgresBackend.connect({ url, schema })
  const ids = Array.from({ length: 20 }, (_, index) => `i${index}`)
  await Promise.all(ids.map((id) => backend.saveSnapshot(atTask(id))))
  const claimed = await claimAll(backend, ids.length)
  // As another process would, of which this one knows nothing.
  await admin`UPDATE ${admin(schema)}.task SET worker_id = 'other', token = token + 1000
    WHERE instance_id = 'i7'`
  const before = await backend.loadSnapshot('i7')
  const commits = claimed.map(({ claim }, index) =>
    backend.commitTask({ claim, outcome: index % 2 === 0 ? END : stepTo('b') }),
  )
  const outcomes = await Promise.allSettled(commits)
  const failed = outcomes.flatMap((outcome, index) =>
    outcome.status === 'rejected' ? [[claimed[index]?.task.instanceId, outcome.reason.code]] : [],
  )
  expect(failed).toEqual([['i7', 'CLAIM_LOST']])
  expect(await backend.loadSnapshot('i7')).toEqual(before)
  expect(await backend.loadTaskResult('i7', 'a')).toBeNull()
})

test('a step that its worker goes on with writes one row anew, and changes no index', async () => {
  const schema = freshSchema()
  await using backend = await PostgresBackend.connect({ url, schema })
  await backend.saveSnapshot(atTask('i'))
  let [next] = await claimAll(backend, 1)
  for (let step = 1; step <= 10; step += 1) {
    const { claim } = next!
    const claimNext = { ttlMs: 60_000 }
    const outcome = stepTo(`s${step}`)
    next = (await backend.commitTask({ claim, outcome, claimNext })).next ?? undefined
  }
  // What a connection counted is told when it ends.
  await backend.close()
  await until(async () => (await counted(schema, 'work', 'n_tup_upd')) === 11)
  // All but the first claim.
  expect(await counted(schema, 'work', 'n_tup_hot_upd')).toBe(10)
})

test('plans that were made of empty tables do not read full ones whole', async () => {
  const schema = freshSchema()
  await using backend = await PostgresBackend.connect({ url, schema, maxConnections: 1 })
  // Lone ones and several have statements of their own.
  const save = (ids: readonly string[]) =>
    Promise.all(ids.map((id) => backend.saveSnapshot(atTask(id))))
  await save(['lone'])
  await save(['a', 'b'])
  const [first, ...others] = await claimAll(backend, 3)
  await backend.commitTask({ claim: first!.claim, outcome: END, claimNext: { ttlMs: 60_000 } })
  await Promise.all(others.map(({ claim }) => backend.commitTask({ claim, outcome: END })))
  const count = 400
  for (let made = 0; made < count; made += 4) {
    await save(Array.from({ length: 4 }, (_, index) => `i${made + index}`))
  }
  for (let left = count; left > 0; left -= 4) {
    const claimed = await claimAll(backend, 4)
    await Promise.all(
      claimed.map(({ claim }) => backend.commitTask({ claim, outcome: stepTo('b') })),
    )
    const again = await claimAll(backend, 4)
    await Promise.all(again.map(({ claim }) => backend.commitTask({ claim, outcome: END })))
  }
  await backend.close()
  await until(async () => (await counted(schema, 'result', 'n_tup_ins')) > count)
  for (const table of ['work', 'result']) {
    // A few for each claim and commit; all there are for each would be a hundred times as many.
    expect(await counted(schema, table, 'idx_tup_fetch')).toBeLessThan(count * 10)
    expect(await counted(schema, table, 'seq_tup_read')).toBeLessThan(count)
    // Also where the index alone is read.
    const [read] = await admin`SELECT sum(idx_tup_read)::int AS entries FROM pg_stat_user_indexes
      WHERE schemaname = ${schema} AND relname = ${table}`
    expect(read?.entries).toBeLessThan(count * 30)
  }
})

test('what JSON can hold and PostgreSQL can not is committed all the same', async () => {
  await using backend = await PostgresBackend.connect({ url, schema: freshSchema() })
  await backend.saveSnapshot({ ...atTask('i'), traceParent: 'a\u0000b' })
  const [claimed] = await claimAll(backend, 1)
  await backend.commitTask({ claim: claimed!.claim, outcome: stepTo('\\"\u0001{}') })
  const loaded = await backend.loadSnapshot('i')
  expect(loaded.traceParent).toBe('a\u0000b')
  expect(loaded.state).toMatchObject({ position: { taskId: '\\"\u0001{}' } })
})

test('a task that becomes one of a fork keeps its claim, and where it is the only one again', async () => {
  await using backend = await PostgresBackend.connect({ url, schema: freshSchema() })
  await backend.saveSnapshot(atTask('i'))
  const [claimed] = await claimAll(backend, 1)
  const { claim } = claimed!
  const position = forkOf(['a', 'b'])
  await backend.saveSnapshot(moveTo(await backend.loadSnapshot('i'), position))
  const renewed = await backend.renewTaskClaim(claim, 120_000)
  expect(renewed.token).toBe(claim.token)
  // Only the other branch is to be had.
  const [other, ...none] = await claimAll(backend, 5)
  expect(other?.claim.taskId).toBe('b')
  expect(none).toEqual([])
  await backend.saveSnapshot(
    moveTo(await backend.loadSnapshot('i'), { kind: 'at-task', taskId: 'a' }),
  )
  expect(await codeOf(backend.renewTaskClaim(other!.claim, 60_000))).toBe('CLAIM_LOST')
  expect(await claimAll(backend, 5)).toEqual([])
  await backend.commitTask({ claim, outcome: stepTo('c') })
  expect((await claimAll(backend, 5)).map(({ task }) => task.taskId)).toEqual(['c'])
})

test('a fork of many branches is handed out at once, each with its input and claim', async () => {
  await using backend = await PostgresBackend.connect({ url, schema: freshSchema() })
  const ids = Array.from({ length: 40 }, (_, index) => `branch-${index}`)
  const position = forkOf(ids)
  await Promise.all(['i', 'k'].map((id) => backend.saveSnapshot(moveTo(atTask(id), position))))
  const claimed = await claimAll(backend, 2 * ids.length)
  expect(claimed.map(({ task }) => `${task.instanceId} ${task.taskId}`).sort()).toEqual(
    ['i', 'k'].flatMap((id) => ids.map((taskId) => `${id} ${taskId}`)).sort(),
  )
  await Promise.all(claimed.map(({ claim }) => backend.commitTask({ claim, outcome: BRANCH })))
  expect((await claimAll(backend, 5)).map(({ task }) => task.taskId)).toEqual(['j', 'j'])
})
