import type { ClaimedTask, PersistentBackend } from '@sayiir/persistence-core'
import { RedisBackend } from '@sayiir/persistence-redis'
import { afterEach, expect, inject, test } from 'vitest'
import { keysOf, observer } from './keys.ts'
import { atTask, bytes, claimOne, completed } from './workflows.ts'

const { url } = inject('redis')
const open: RedisBackend[] = []
let prefixes = 0

async function connect(keyPrefix?: string): Promise<RedisBackend> {
  prefixes += 1
  const fresh = `plain-${process.pid}-${Date.now()}-${prefixes}:`
  const backend = await RedisBackend.connect({ url, keyPrefix: keyPrefix ?? fresh })
  open.push(backend)
  return backend
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((backend) => backend.close()))
})

async function claimMany(
  backend: PersistentBackend,
  ids: readonly string[],
): Promise<ClaimedTask[]> {
  await Promise.all(ids.map((id) => backend.saveSnapshot(atTask(id))))
  return backend.claimAvailableTasks({ workerId: 'worker-1', limit: ids.length, ttlMs: 60_000 })
}

test('D10 of commits that travel together one is refused, one goes another way, the others are done', async () => {
  const keyPrefix = `plain-${process.pid}-${Date.now()}-together:`
  const backend = await connect(keyPrefix)
  const other = await connect(keyPrefix)
  const ids = ['deleted', 'done', 'heard', 'paused', 'stolen', 'stored', 'there']
  const claimed = await claimMany(backend, ids)
  const of = (id: string): ClaimedTask =>
    claimed.find(({ task }) => task.instanceId === id) as ClaimedTask
  await other.deleteSnapshot('deleted')
  await other.storeSignal('paused', 'pause')
  await other.sendEvent('heard', 'go', bytes('x'), { eventId: 'e' })
  await other.saveTaskResult({ instanceId: 'stored', taskId: 'z', output: bytes('z') })
  await other.releaseTaskClaim(of('stolen').claim)
  const stolen = await claimOne(other, 'worker-2')
  const settled = await Promise.allSettled(
    ids.map((id) => backend.commitTask({ claim: of(id).claim, outcome: completed(id, null) })),
  )
  const outcomes = settled.map((one) =>
    one.status === 'fulfilled' ? one.value.status : (one.reason as { code: string }).code,
  )
  expect(Object.fromEntries(ids.map((id, index) => [id, outcomes[index]]))).toEqual({
    deleted: 'NOT_FOUND',
    done: 'completed',
    heard: 'completed',
    paused: 'completed',
    stolen: 'CLAIM_LOST',
    stored: 'completed',
    there: 'completed',
  })
  expect((await backend.loadSnapshot('stored')).state.completedTasks.size).toBe(2)
  await other.commitTask({ claim: stolen.claim, outcome: completed('o', null) })
  expect(await backend.stats()).toMatchObject({
    available: 0,
    claimed: 0,
    byStatus: { completed: 6 },
  })
})

test('D6 steps that one worker goes through: whoever takes over has every output', async () => {
  const keyPrefix = `plain-${process.pid}-${Date.now()}-steps:`
  const backend = await connect(keyPrefix)
  const other = await connect(keyPrefix)
  await backend.saveSnapshot(atTask('i'))
  let { claim } = await claimOne(backend)
  // A task that comes again replaces its output, also where it is the newest.
  for (const next of ['b', 'b', 'c', 'b', 'd']) {
    const outcome = completed(`${claim.taskId}${claim.token}`, next)
    const receipt = await backend.commitTask({ claim, outcome, claimNext: { ttlMs: 60_000 } })
    expect(receipt.next?.task).toMatchObject({ taskId: next, deliveries: 1 })
    expect(receipt.next?.task.input).toEqual(bytes(`${claim.taskId}${claim.token}`))
    claim = receipt.next?.claim ?? claim
  }
  const before = await other.loadSnapshot('i')
  expect([...before.state.completedTasks.keys()]).toEqual(['a', 'c', 'b'])
  await backend.releaseTaskClaim(claim)
  const taken = await claimOne(other, 'worker-2')
  expect(taken.task).toMatchObject({ taskId: 'd', deliveries: 2 })
  expect(taken.task.input).toEqual(before.state.completedTasks.get('b')?.output)
  await other.commitTask({ claim: taken.claim, outcome: completed('d', 'b') })
  const last = await claimOne(other, 'worker-2')
  expect(last.task.input).toEqual(bytes('d'))
  await other.commitTask({ claim: last.claim, outcome: completed('end', null) })
  const { state } = await backend.loadSnapshot('i')
  expect(
    [...state.completedTasks].map(([id, { output }]) => [id, Buffer.from(output).toString()]),
  ).toEqual([
    ['a', expect.stringMatching(/^a\d+$/)],
    ['c', expect.stringMatching(/^c\d+$/)],
    ['d', 'd'],
    ['b', 'end'],
  ])
})

test('D2 with claimNext the best of several classes comes first, and each worker gets its own', async () => {
  const backend = await connect()
  await backend.saveSnapshot({ ...atTask('z-first'), priority: 5 })
  const held = await claimOne(backend)
  for (const priority of [4, 2, 5, 1]) {
    await backend.saveSnapshot({ ...atTask(`p${priority}`), priority })
  }
  await backend.saveSnapshot({ ...atTask('tagged'), priority: 1, tags: ['gpu'] })
  const order: string[] = []
  let { claim } = held
  for (;;) {
    const claimNext = { ttlMs: 60_000, tags: [] }
    const { next } = await backend.commitTask({ claim, outcome: completed('o', null), claimNext })
    if (next === null) break
    order.push(next.task.instanceId)
    claim = next.claim
  }
  expect(order).toEqual(['p1', 'p2', 'p4', 'p5'])
  expect((await backend.findAvailableTasks({ workerId: 'w', limit: 9 }))[0]?.instanceId).toBe(
    'tagged',
  )
})

test('S8 commits that travel together leave nothing behind in the index', async () => {
  const keyPrefix = `plain-${process.pid}-${Date.now()}-left:`
  const backend = await connect(keyPrefix)
  const ids = Array.from({ length: 20 }, (_, index) => `i${index}`)
  let claimed = await claimMany(backend, ids)
  for (const next of ['b', 'c', null]) {
    const receipts = await Promise.all(
      claimed.map(({ claim }, index) =>
        backend.commitTask({
          claim,
          outcome: completed(`o${index}`, next),
          claimNext: { ttlMs: index % 2 === 0 ? null : 60_000 },
        }),
      ),
    )
    claimed = receipts.flatMap((receipt) => receipt.next ?? [])
    expect(claimed.length).toBe(next === null ? 0 : ids.length)
  }
  const shard = `${keyPrefix}{0}:`
  const results = ids.map((id) => `${shard}r:${id}`)
  expect((await keysOf(url, shard)).filter((key) => !results.includes(key))).toEqual(
    ['ended', 'ids', 'instances', 'meta', 'payloads'].map((name) => shard + name),
  )
  expect(await backend.prune({ endedBefore: Date.now() + 60_000 })).toMatchObject({ deleted: 20 })
  await backend.close()
  expect(await keysOf(url, keyPrefix)).toEqual([`${keyPrefix}format`, `${shard}meta`])
  expect(await observer(url).hkeys(`${shard}meta`)).toEqual(['token'])
})

test('S8 what was beside an instance is known of through all of its steps, and gone after the last', async () => {
  const keyPrefix = `plain-${process.pid}-${Date.now()}-beside:`
  const backend = await connect(keyPrefix)
  await backend.saveSnapshot(atTask('i'))
  let { claim } = await claimOne(backend)
  await backend.commitTask({ claim, outcome: completed('newest', 'b') })
  claim = (await claimOne(backend)).claim
  await backend.sendEvent('i', 'go', bytes('x'), { eventId: 'e' })
  for (const next of ['c', 'd']) {
    const receipt = await backend.commitTask({
      claim,
      outcome: completed(`before ${next}`, next),
      claimNext: { ttlMs: 60_000 },
    })
    claim = receipt.next?.claim ?? claim
  }
  const events = `${keyPrefix}{0}:e:i`
  expect(await observer(url).exists(events)).toBe(1)
  await backend.commitTask({ claim, outcome: completed('end', null) })
  expect(await observer(url).exists(events)).toBe(0)
  const { state } = await backend.loadSnapshot('i')
  expect(
    Array.from(state.completedTasks, ([id, { output }]) => [id, `${Buffer.from(output)}`]),
  ).toEqual([
    ['a', 'newest'],
    ['b', 'before c'],
    ['c', 'before d'],
    ['d', 'end'],
  ])
})
