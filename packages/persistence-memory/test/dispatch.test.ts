import type { ClaimedTask, CommitReceipt, CommitTaskParams } from '@sayiir/persistence-core'
import { expect, test } from 'vitest'
import { InMemoryBackend } from '../src/index.ts'
import { at, atTask, bytes, completed, forkOf, text } from './fixtures.ts'

const TTL = 60_000
const NEXT = { ttlMs: TTL }
const toTask = (taskId: string) => completed({ position: { kind: 'at-task', taskId } })
const toEnd = () => completed({ finalOutput: bytes('end') })

function opened(): { backend: InMemoryBackend; clock: { now: number } } {
  const clock = { now: 1000 }
  return { backend: new InMemoryBackend({ now: () => clock.now, agingIntervalMs: 100 }), clock }
}

async function claimAll(backend: InMemoryBackend, workerId = 'w'): Promise<ClaimedTask[]> {
  return backend.claimAvailableTasks({ workerId, limit: 1000, ttlMs: TTL })
}

async function found(backend: InMemoryBackend, workerId = 'w'): Promise<string[]> {
  const tasks = await backend.findAvailableTasks({ workerId, limit: 1000 })
  return tasks.map(({ instanceId, taskId }) => `${instanceId}/${taskId}`)
}

const nameOf = ({ next }: CommitReceipt): string | null =>
  next && `${next.task.instanceId}/${next.task.taskId}`

test('D2 ties go by how long they wait, then by the bytes of the ids', async () => {
  const { backend, clock } = opened()
  // As UTF-16 the emoji would come before U+FB00.
  for (const id of ['b', '\u{1f600}', '\ufb00', 'a']) await backend.saveSnapshot(atTask(id))
  clock.now += 100
  await backend.saveSnapshot(atTask('urgent', 'a', { priority: 2 }))
  expect(await found(backend)).toEqual(['a/a', 'b/a', '\ufb00/a', '\u{1f600}/a', 'urgent/a'])
})

test('D4 what a worker failed last comes after all else, and others take it in its turn', async () => {
  const { backend } = opened()
  await backend.saveSnapshot(atTask('failed', 'a', { priority: 1 }))
  const [claimed] = await claimAll(backend, 'w1')
  await backend.saveSnapshot(atTask('other', 'a', { priority: 5 }))
  const retry = { kind: 'retry', error: 'e', delayMs: 0 } as const
  const receipt = await backend.commitTask({
    claim: claimed!.claim,
    outcome: retry,
    claimNext: NEXT,
  })
  expect(nameOf(receipt), 'not the one it failed just now').toBe('other/a')
  await backend.releaseTaskClaim(receipt.next!.claim)
  expect(await found(backend, 'w1')).toEqual(['other/a', 'failed/a'])
  expect(await found(backend, 'w2')).toEqual(['failed/a', 'other/a'])
  const limited = await backend.findAvailableTasks({ workerId: 'w1', limit: 1 })
  expect(limited.map(({ instanceId }) => instanceId)).toEqual(['other'])
})

test('D6 claimNext stays with its instance before it goes elsewhere', async () => {
  const { backend } = opened()
  await backend.saveSnapshot(atTask('i'))
  const [claimed] = await claimAll(backend)
  await backend.saveSnapshot(atTask('urgent', 'a', { priority: 1 }))
  const first = await backend.commitTask({
    claim: claimed!.claim,
    outcome: toTask('b'),
    claimNext: NEXT,
  })
  expect(nameOf(first)).toBe('i/b')
  const second = await backend.commitTask({
    claim: first.next!.claim,
    outcome: completed({ position: { kind: 'at-task', taskId: 'c' }, tags: ['gpu'] }),
    claimNext: { ...NEXT, tags: [] },
  })
  expect(nameOf(second), 'its own next task is not for this worker').toBe('urgent/a')
  const third = await backend.commitTask({
    claim: second.next!.claim,
    outcome: toEnd(),
    claimNext: { ...NEXT, definitionHashes: [] },
  })
  expect(third).toEqual({ revision: 2, status: 'completed', next: null })
})

test('D6 claimNext goes on behind a delay that is over at once', async () => {
  const { backend } = opened()
  await backend.saveSnapshot(atTask('i'))
  const [claimed] = await claimAll(backend)
  const receipt = await backend.commitTask({
    claim: claimed!.claim,
    outcome: completed({
      position: { kind: 'at-delay', delayId: 'd', delayMs: 0, nextTaskId: 'b' },
    }),
    claimNext: NEXT,
  })
  expect(nameOf(receipt)).toBe('i/b')
  expect(text(receipt.next?.task.input)).toBe('out')
  expect(await backend.loadSnapshot('i')).toMatchObject({
    revision: 3,
    state: { position: { kind: 'at-task', taskId: 'b' } },
  })
})

test('D6 a repeated commit gives the first receipt, as long as it can be told', async () => {
  const { backend, clock } = opened()
  await backend.saveSnapshot(atTask('i'))
  await backend.saveSnapshot(atTask('j'))
  const [i, j] = await claimAll(backend)
  const commit: CommitTaskParams = { claim: i!.claim, outcome: toTask('b'), claimNext: NEXT }
  const receipt = await backend.commitTask(commit)
  clock.now += TTL
  expect(await backend.commitTask(commit), 'the claim has expired, but nobody took it').toEqual(
    receipt,
  )
  expect(await backend.loadSnapshot('i')).toMatchObject({ revision: 2 })
  // Without a token the worker's name tells.
  const { token: _, ...unfenced } = i!.claim
  expect(await backend.commitTask({ ...commit, claim: unfenced })).toEqual(receipt)
  const stranger = { ...i!.claim, workerId: 'stranger' }
  await expect(backend.commitTask({ ...commit, claim: stranger })).rejects.toMatchObject({
    code: 'CLAIM_LOST',
  })

  const ended = await backend.commitTask({ claim: receipt.next!.claim, outcome: toEnd() })
  expect(ended).toEqual({ revision: 3, status: 'completed', next: null })
  expect(await backend.commitTask(commit)).toEqual({ ...receipt, next: null })
  expect(
    await backend.commitTask({ claim: receipt.next!.claim, outcome: toEnd() }),
    'also of the commit that ended it',
  ).toEqual(ended)

  await backend.commitTask({
    claim: j!.claim,
    outcome: { kind: 'retry', error: 'e', delayMs: 0 },
  })
  await claimAll(backend)
  await expect(
    backend.commitTask({ claim: j!.claim, outcome: toEnd() }),
    'the task was claimed again',
  ).rejects.toMatchObject({ code: 'CLAIM_LOST' })
  await backend.deleteSnapshot('i')
  await expect(backend.commitTask(commit)).rejects.toMatchObject({ code: 'NOT_FOUND' })
})

test('D6 a loop that comes back to its task can repeat the commit that claimed it', async () => {
  const { backend } = opened()
  await backend.saveSnapshot(atTask('i'))
  const [claimed] = await claimAll(backend)
  const commit: CommitTaskParams = {
    claim: claimed!.claim,
    outcome: completed({
      position: { kind: 'in-loop', loopId: 'l', iteration: 1, nextTaskId: 'a' },
    }),
    claimNext: NEXT,
  }
  const receipt = await backend.commitTask(commit)
  expect(receipt.next?.task).toMatchObject({ taskId: 'a', deliveries: 1 })
  expect(await backend.commitTask(commit)).toEqual(receipt)
  // Without a token it is the task's new claim that is committed.
  const { token: _, ...unfenced } = claimed!.claim
  expect(await backend.commitTask({ claim: unfenced, outcome: toEnd() })).toMatchObject({
    revision: 3,
  })
})

test('a refused outcome leaves all as it was', async () => {
  const { backend } = opened()
  await backend.saveSnapshot(atTask('i'))
  await backend.saveSnapshot(atTask('j'))
  const [claimed] = await claimAll(backend)
  const before = await backend.loadSnapshot('i')
  await expect(
    backend.commitTask({ claim: claimed!.claim, outcome: completed({ branch: null }) }),
  ).rejects.toThrow(TypeError)
  expect(await backend.loadSnapshot('i')).toEqual(before)
  expect(await backend.commitTask({ claim: claimed!.claim, outcome: toEnd() })).toMatchObject({
    revision: 2,
  })
})

test('E3 a save that parks where an event waits makes a new task of what follows', async () => {
  const { backend } = opened()
  await backend.saveSnapshot(atTask('i', 'b'))
  await backend.sendEvent('i', 'n', bytes('event'))
  const [claimed] = await claimAll(backend)
  const parked = at('i', {
    kind: 'at-signal',
    signalId: 's',
    signalName: 'n',
    wakeAt: 0,
    nextTaskId: 'b',
  })
  const saved = await backend.saveSnapshot(parked)
  expect(saved).toMatchObject({ revision: 2, state: { position: { kind: 'at-task' } } })
  await expect(backend.renewTaskClaim(claimed!.claim, 1)).rejects.toMatchObject({
    code: 'CLAIM_LOST',
  })
  const [task] = await backend.findAvailableTasks({ workerId: 'w', limit: 1 })
  expect(text(task!.input)).toBe('event')
  expect(task).toMatchObject({ deliveries: 0 })
})

test('E3 a time that was up first wins over the event, also if that ends the instance', async () => {
  const { backend, clock } = opened()
  const signal = { kind: 'at-signal', signalId: 's', signalName: 'n', wakeAt: 2000 } as const
  await backend.saveSnapshot(at('goes on', { ...signal, nextTaskId: 'b' }))
  await backend.saveSnapshot(at('ends', { ...signal, nextTaskId: null }))
  clock.now = 2000
  await backend.sendEvent('goes on', 'n', bytes('late'), { eventId: '1' })
  await backend.sendEvent('goes on', 'n', bytes('late again'), { eventId: '1' })
  expect(text(await backend.loadTaskResult('goes on', 's'))).toBe('')
  expect(text(await backend.consumeEvent('goes on', 'n'))).toBe('late')
  expect(await backend.consumeEvent('goes on', 'n')).toBeNull()
  await expect(backend.sendEvent('ends', 'n', bytes('late'))).rejects.toMatchObject({
    code: 'TERMINAL',
  })
  expect((await backend.loadSnapshot('ends')).state.status).toBe('completed')
})

test('G4 a commit applies what is pending, and its worker goes on elsewhere', async () => {
  const { backend } = opened()
  await backend.saveSnapshot(atTask('i'))
  await backend.saveSnapshot(atTask('j'))
  const [claimed] = await claimAll(backend)
  await backend.releaseTaskClaim(
    (await backend.claimTask({
      instanceId: 'j',
      taskId: 'a',
      workerId: 'w',
      ttlMs: TTL,
    })) ?? { instanceId: 'j', taskId: 'a', workerId: 'w' },
  )
  await backend.storeSignal('i', 'pause', { reason: 'lunch' })
  expect(await found(backend), 'a live claim keeps the signal for its worker').toEqual(['j/a'])
  expect((await backend.loadSnapshot('i')).state.status).toBe('in-progress')
  const receipt = await backend.commitTask({
    claim: claimed!.claim,
    outcome: toTask('b'),
    claimNext: NEXT,
  })
  expect(receipt).toMatchObject({ revision: 2, status: 'paused' })
  expect(nameOf(receipt)).toBe('j/a')
  expect(await backend.unpause('i')).toMatchObject({
    state: { position: { kind: 'at-task', taskId: 'b' } },
  })
})

test('F2 branches that commit at once lose nothing, and join once', async () => {
  const { backend } = opened()
  const branches = Array.from({ length: 200 }, (_, index) => `b${index}`)
  await backend.saveSnapshot(at('i', forkOf(branches.map((taskId) => ({ taskId })))))
  const claimed = await claimAll(backend)
  expect(claimed).toHaveLength(200)
  const receipts = await Promise.all(
    claimed.map(({ claim }) =>
      backend.commitTask({
        claim,
        outcome: completed({ branch: null }, `of ${claim.taskId}`),
        claimNext: NEXT,
      }),
    ),
  )
  const joins = receipts.flatMap(({ next }) => (next === null ? [] : [next]))
  expect(joins.map(({ task }) => task.taskId)).toEqual(['join'])
  const outputs = [...joins[0]!.task.branches].map(([label, { output }]) => [label, text(output)])
  expect(new Map(outputs as [string, string][])).toEqual(
    new Map(branches.map((label) => [label, `of ${label}`])),
  )
})

test('M1 prune gives others their turn between batches, and stops at an abort', async () => {
  const { backend, clock } = opened()
  const ended = Array.from({ length: 350 }, (_, index) => `e${index}`)
  for (const id of ended) {
    await backend.saveSnapshot(atTask(id))
    await backend.storeSignal(id, 'cancel')
    await backend.checkAndCancel(id)
  }
  clock.now += 1
  const controller = new AbortController()
  const pruning = backend.prune({ endedBefore: clock.now }, controller)
  const { byStatus } = await backend.stats()
  expect(byStatus.cancelled).toBe(250)
  controller.abort(new Error('enough'))
  await expect(pruning).rejects.toThrow('enough')
  await backend.close()
})
