import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import { bytes, type ContractTest, collect, failure, rule, text } from './context.ts'
import { at, atTask, claim, completed, found, LONG_MS, SHORT_MS, WORKER } from './fixtures.ts'
import {
  CLAIM_NEXT,
  commit,
  outputsOf,
  placeOf,
  positionIn,
  run,
  storeTime,
  tasksOf,
  together,
} from './steps.ts'

function delay(delayMs: number, nextTaskId: string | null = 'b') {
  return { kind: 'at-delay', delayId: 'delay', delayMs, nextTaskId } as const
}

function delayUntil(wakeAt: number, nextTaskId: string | null = 'b') {
  return { kind: 'at-delay', delayId: 'delay', enteredAt: 0, wakeAt, nextTaskId } as const
}

/** Parks a new instance at a delay by a commit of its task `a`. */
async function park(
  backend: PersistentBackend,
  instanceId: string,
  delayMs: number,
  nextTaskId: string | null = 'b',
): Promise<void> {
  await backend.saveSnapshot(atTask(instanceId))
  await run(backend, instanceId, 'a', 'from a', { position: delay(delayMs, nextTaskId) })
}

/** Claims from many sides at once, by task and by dispatch. */
function race(backends: readonly PersistentBackend[], instanceId: string, taskId: string) {
  return together(20, async (index) => {
    const backend = backends[index % backends.length] as PersistentBackend
    const workerId = `w${index}`
    if (index % 2 === 0) {
      return (await backend.claimTask({ instanceId, taskId, workerId, ttlMs: LONG_MS })) ?? []
    }
    const claimed = await backend.claimAvailableTasks({ workerId, limit: 3, ttlMs: LONG_MS })
    return claimed.map((one) => one.claim)
  }).then((claims) => claims.flat())
}

/** Rule E1: delays. */
export const timerTests: readonly ContractTest[] = [
  rule('E1', "a delay's task is neither found nor claimed before the delay is over", async (t) => {
    const backend = await t.open()
    await park(backend, 'committed', LONG_MS)
    const now = await storeTime(backend)
    await backend.saveSnapshot(at('saved', delayUntil(now + LONG_MS)))
    await park(backend, 'ending', LONG_MS, null)
    const before = await backend.loadSnapshot('committed')
    expect(placeOf(before)).toEqual({
      kind: 'at-delay',
      delayId: 'delay',
      enteredAt: before.updatedAt,
      wakeAt: before.updatedAt + LONG_MS,
      nextTaskId: 'b',
    })
    expect(await found(backend)).toEqual([])
    for (const instanceId of ['committed', 'saved']) {
      expect(
        await backend.claimTask({ instanceId, taskId: 'b', workerId: WORKER, ttlMs: LONG_MS }),
      ).toBeNull()
    }
    expect(
      await backend.claimAvailableTasks({ workerId: WORKER, limit: 10, ttlMs: LONG_MS }),
    ).toEqual([])
    expect(await backend.waitForWakeup({ timeoutMs: 0 })).toBeNull()
    expect(await backend.loadSnapshot('committed')).toEqual(before)
    expect((await backend.loadSnapshot('ending')).state.status).toBe('in-progress')
  }),

  rule('E1', 'when the delay is over its task is available, from then on', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await run(backend, 'i', 'a', 'from a', {
      position: delay(SHORT_MS),
      priority: 2,
      tags: ['gpu'],
    })
    const { updatedAt } = await backend.loadSnapshot('i')
    await t.elapse(SHORT_MS)
    expect(await found(backend, { tags: [] })).toEqual([])
    const task = (await tasksOf(backend, 'i')).get('b')
    expect(task).toMatchObject({
      input: bytes('from a'),
      availableSince: updatedAt + SHORT_MS,
      priority: 2,
      tags: ['gpu'],
      attempt: 1,
      deliveries: 0,
    })
    const after = await backend.loadSnapshot('i')
    expect(placeOf(after)).toEqual({ kind: 'at-task', taskId: 'b' })
    expect(after.revision).toBe(3)
    expect((await tasksOf(backend, 'i')).get('b')?.availableSince).toBe(updatedAt + SHORT_MS)
    const held = await claim(backend, 'i', 'b')
    await commit(backend, held, 'from b', { finalOutput: bytes('end') })
  }),

  rule('E1', 'a delay is over when the store’s clock reaches its end, not before', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    // Long enough that a look falls in it, however busy the machine.
    await park(backend, 'i', 100)
    const { wakeAt } = (await positionIn(backend, 'i')) as ReturnType<typeof delayUntil>
    const { clock } = t.capabilities
    const slackMs = clock === 'store' ? 0 : clock.maxErrorMs
    for (;;) {
      const before = await storeTime(backend)
      const tasks = await found(other)
      const after = await storeTime(backend)
      if (tasks.length > 0) {
        expect(tasks).toEqual(['i/b'])
        expect(after, 'the delay was over too early').toBeGreaterThanOrEqual(wakeAt - slackMs)
        return
      }
      expect(before, 'the delay was over, its task not found').toBeLessThan(wakeAt + slackMs)
      await t.elapse(0)
    }
  }),

  rule('E1', 'every way to a task advances a delay that is over', async (t) => {
    const backend = await t.open()
    const now = await storeTime(backend)
    const claimed = async () =>
      backend.claimAvailableTasks({ workerId: WORKER, limit: 10, ttlMs: LONG_MS })
    await backend.saveSnapshot(at('i1', delayUntil(now)))
    expect((await claimed()).map(({ task, head }) => [task.taskId, head.revision])).toEqual([
      ['b', 2],
    ])
    await backend.saveSnapshot(at('i2', delayUntil(0)))
    const { expiresAt: _, ...ref } = await claim(backend, 'i2', 'b')
    await commit(backend, ref, '', { position: { kind: 'not-started' } })
    await backend.saveSnapshot(at('i3', delayUntil(now)))
    expect(await backend.waitForWakeup({ timeoutMs: LONG_MS })).not.toBeNull()
    expect((await claimed()).map(({ task }) => task.instanceId)).toEqual(['i3'])
    await backend.saveSnapshot(at('i4', delayUntil(now)))
    await backend.saveSnapshot(atTask('other'))
    const other = await claim(backend, 'other')
    const { next } = await commit(backend, other, '', { finalOutput: bytes('') }, CLAIM_NEXT)
    expect(next).toMatchObject({
      task: { instanceId: 'i4', taskId: 'b', input: bytes('in'), deliveries: 1 },
      head: { revision: 2, state: { position: { kind: 'at-task', taskId: 'b' } } },
    })
    await backend.saveSnapshot(at('i5', delayUntil(now)))
    await backend.sendEvent('i5', 'later', bytes('e'))
    expect(await positionIn(backend, 'i5')).toEqual({ kind: 'at-task', taskId: 'b' })
  }),

  rule('E1', 'a delay of nothing is over at once', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    const { next, status } = await commit(
      backend,
      held,
      'from a',
      { position: delay(0) },
      CLAIM_NEXT,
    )
    expect(status).toBe('in-progress')
    expect(next?.task).toMatchObject({ instanceId: 'i', taskId: 'b', input: bytes('from a') })
    await park(backend, 'ending', 0, null)
    expect(await found(backend)).toEqual([])
    expect((await backend.loadSnapshot('ending')).state).toMatchObject({
      status: 'completed',
      finalOutput: bytes('from a'),
    })
  }),

  rule(
    'E1',
    'a delay with nothing after it completes with the last output before it',
    async (t) => {
      const backend = await t.open()
      await park(backend, 'output', SHORT_MS, null)
      const now = await storeTime(backend)
      await backend.saveSnapshot(at('input', delayUntil(now + SHORT_MS, null)))
      await backend.saveSnapshot(
        at('neither', delayUntil(now + SHORT_MS, null), { initialInput: null }),
      )
      await t.elapse(SHORT_MS)
      expect(await found(backend)).toEqual([])
      const ended = await Promise.all(
        ['output', 'input', 'neither'].map((id) => backend.loadSnapshot(id)),
      )
      expect(
        ended.map(({ state }) => (state.status === 'completed' ? text(state.finalOutput) : state)),
      ).toEqual(['from a', 'in', ''])
      expect(ended.map(({ revision }) => revision)).toEqual([3, 2, 2])
      await failure(backend.sendEvent('output', 'any', bytes('')), 'TERMINAL')
    },
  ),

  rule(
    'E1',
    'the last output is the newest when the delay ends, in order of completion',
    async (t) => {
      const backend = await t.open()
      await park(backend, 'i', SHORT_MS, null)
      await backend.saveTaskResult({ instanceId: 'i', taskId: 'z', output: bytes('from z') })
      await backend.saveTaskResult({ instanceId: 'i', taskId: 'b', output: bytes('from b') })
      await t.elapse(SHORT_MS)
      await found(backend)
      const snapshot = await backend.loadSnapshot('i')
      expect(snapshot.state).toMatchObject({ status: 'completed', finalOutput: bytes('from b') })
      expect(outputsOf(snapshot).map(([id]) => id)).toEqual(['a', 'z', 'b'])
    },
  ),

  rule(
    'E1',
    'a task behind a delay goes to one of many racing workers, and the delay ends once',
    async (t) => {
      const backends = await t.openMany(4)
      const [backend] = backends
      if (backend === undefined) expect.fail()
      const now = await storeTime(backend)
      for (const instanceId of ['i', 'j', 'k']) {
        await backend.saveSnapshot(at(instanceId, delayUntil(now)))
        expect((await race(backends, instanceId, 'b')).map((one) => one.instanceId)).toEqual([
          instanceId,
        ])
        const { revision, state } = await backend.loadSnapshot(instanceId)
        expect(revision).toBe(2)
        expect(state).toMatchObject({ position: { kind: 'at-task', taskId: 'b' } })
      }
    },
  ),

  rule('E1', 'a delay that completes the workflow does so once, whoever sees it', async (t) => {
    const backends = await t.openMany(4)
    const [backend] = backends
    if (backend === undefined) expect.fail()
    await backend.saveSnapshot(at('i', delayUntil(0, null)))
    await Promise.all(
      [...backends, ...backends].map((one, index) =>
        index % 2 === 0 ? found(one) : one.waitForWakeup({ timeoutMs: 0 }),
      ),
    )
    const { revision, state } = await backend.loadSnapshot('i')
    expect([revision, state.status]).toEqual([2, 'completed'])
  }),

  rule('E1', 'however many timers are due, all are advanced', async (t) => {
    const backend = await t.open()
    const count = 150
    for (let index = 0; index < count; index += 1) {
      await backend.saveSnapshot(at(`end-${index}`, delayUntil(index, null)))
      await backend.saveSnapshot(at(`task-${index}`, delayUntil(index)))
    }
    const claimed = new Set<string>()
    // A call advances a bounded number, but always some.
    for (let calls = 0; calls < count; calls += 1) {
      const some = await backend.claimAvailableTasks({
        workerId: WORKER,
        limit: 1000,
        ttlMs: LONG_MS,
      })
      for (const { task } of some) claimed.add(task.instanceId)
      const ended = await collect(backend.listSnapshots({ status: 'completed' }))
      if (claimed.size === count && ended.length === count) return
    }
    const { byStatus } = await backend.stats()
    expect.fail(`${claimed.size} of ${count} tasks came, ${byStatus.completed} instances ended`)
  }),

  rule('E1', 'a due timer does not hide the tasks of others, nor theirs it', async (t) => {
    const backend = await t.open()
    for (let index = 0; index < 5; index += 1) {
      await backend.saveSnapshot(at(`end-${index}`, delayUntil(0, null)))
    }
    await backend.saveSnapshot(at('due', delayUntil(0, 'b'), { priority: 5 }))
    await backend.saveSnapshot(atTask('ready', 'a', { priority: 1 }))
    const ids = new Set<string>()
    for (let calls = 0; calls < 10 && ids.size < 2; calls += 1) {
      const some = await backend.claimAvailableTasks({ workerId: WORKER, limit: 1, ttlMs: LONG_MS })
      for (const { task } of some) ids.add(task.instanceId)
    }
    expect([...ids].toSorted()).toEqual(['due', 'ready'])
  }),

  rule('E1', 'the delay of a paused instance ends after the pause', async (t) => {
    const backend = await t.open()
    for (const [instanceId, nextTaskId] of [
      ['ending', null],
      ['going', 'b'],
    ] as const) {
      await park(backend, instanceId, SHORT_MS, nextTaskId)
      await backend.storeSignal(instanceId, 'pause')
      expect(await backend.checkAndPause(instanceId)).toBe(true)
    }
    const before = await positionIn(backend, 'going')
    await t.elapse(SHORT_MS)
    expect(await found(backend)).toEqual([])
    expect((await backend.loadSnapshot('ending')).state.status).toBe('paused')
    expect(placeOf(await backend.unpause('going'))).toEqual(before)
    const { updatedAt } = await backend.unpause('ending')
    const task = (await tasksOf(backend, 'going')).get('b')
    expect(task).toMatchObject({ input: bytes('from a') })
    expect(task?.availableSince).toBeLessThanOrEqual(updatedAt)
    await found(backend)
    expect((await backend.loadSnapshot('ending')).state).toMatchObject({
      status: 'completed',
      finalOutput: bytes('from a'),
    })
  }),

  rule('E1', 'a delay can lead back to the task before it, which starts anew', async (t) => {
    const backend = await t.open()
    await park(backend, 'i', 0, 'a')
    const held = await claim(backend, 'i', 'a')
    expect((await tasksOf(backend, 'i')).size).toBe(0)
    await backend.commitTask({
      claim: held,
      outcome: completed('again', { position: delay(LONG_MS, 'a') }),
    })
    await failure(backend.renewTaskClaim(held, LONG_MS), 'CLAIM_LOST')
    expect(await found(backend)).toEqual([])
    expect(outputsOf(await backend.loadSnapshot('i'))).toEqual([['a', 'again']])
  }),

  rule('E1', 'saving a delay over a claimed task takes the claim', async (t) => {
    const backend = await t.open()
    const stored = await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    const later = (await storeTime(backend)) + LONG_MS
    await backend.saveSnapshot({ ...at('i', delayUntil(later, 'a')), revision: stored.revision })
    await failure(commit(backend, held, 'late', { finalOutput: bytes('') }), 'CLAIM_LOST')
    expect(placeOf(await backend.loadSnapshot('i'))).toMatchObject({ kind: 'at-delay' })
  }),
]
