import { expect } from 'vitest'
import type { Position } from '../position.ts'
import { completeTask, moveTo } from '../transitions.ts'
import { bytes, type ContractTest, rule, text } from './context.ts'
import {
  at,
  atFork,
  atTask,
  claim,
  claimOne,
  LONG_MS,
  SHORT_MS,
  toTask,
  WORKER,
} from './fixtures.ts'
import { commit, run, storeTime, tasksOf } from './steps.ts'

type AtFork = Extract<Position, { readonly kind: 'at-fork' }>

/** Since when a task waits, and what else it carries. */
export const availableTaskTests: readonly ContractTest[] = [
  rule(
    'D2',
    'a task keeps its place through claims, renewals, expiries, releases and saves',
    async (t) => {
      const backend = await t.open()
      const before = await storeTime(backend)
      const traceParent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
      const task = { priority: 2, tags: ['x', 'y'], definitionHash: 'd', traceParent }
      const saved = await backend.saveSnapshot(atTask('i', 'a', task))
      const [first] = await backend.findAvailableTasks({ workerId: WORKER, limit: 1 })
      expect(first).toEqual({
        ...task,
        instanceId: 'i',
        taskId: 'a',
        input: bytes('in'),
        branches: new Map(),
        attempt: 1,
        deliveries: 0,
        availableSince: saved.updatedAt,
      })
      expect(saved.updatedAt).toBeGreaterThanOrEqual(before)
      await t.elapse(5)
      const prolonged = await backend.renewTaskClaim(await claim(backend, 'i'), SHORT_MS)
      await backend.releaseTaskClaim(await backend.extendTaskClaim(prolonged, 1))
      await claim(backend, 'i', 'a', { workerId: 'w2', ttlMs: SHORT_MS })
      await t.elapse(SHORT_MS)
      await backend.saveSnapshot(completeTask(saved, 'other', bytes('from another')))
      await backend.saveTaskResult({
        instanceId: 'i',
        taskId: 'third',
        output: bytes('from third'),
      })
      expect((await tasksOf(backend, 'i')).get('a')).toEqual({ ...first, deliveries: 2 })
      const claimed = await claimOne(backend)
      expect(claimed.task).toEqual({ ...first, deliveries: 3 })
      await backend.saveSnapshot(await backend.loadSnapshot('i'), { claim: claimed.claim })
      await backend.releaseTaskClaim(claimed.claim)
      expect((await tasksOf(backend, 'i')).get('a')).toEqual({ ...first, deliveries: 3 })
    },
  ),

  rule('D2', 'a task that becomes runnable anew starts anew', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(
      at('i', { kind: 'in-loop', loopId: 'l', iteration: 0, nextTaskId: 'a' }),
    )
    const before = (await tasksOf(backend, 'i')).get('a')
    await backend.releaseTaskClaim(await claim(backend, 'i'))
    await t.elapse(5)
    await run(backend, 'i', 'a', 'round 1', {
      position: { kind: 'in-loop', loopId: 'l', iteration: 1, nextTaskId: 'a' },
    })
    const { updatedAt } = await backend.loadSnapshot('i')
    expect(updatedAt).toBeGreaterThan(before?.availableSince ?? Infinity)
    const fresh = { deliveries: 0, attempt: 1, availableSince: updatedAt }
    expect((await tasksOf(backend, 'i')).get('a')).toMatchObject({
      ...fresh,
      input: bytes('round 1'),
    })
    await t.elapse(5)
    await backend.saveSnapshot(atTask('i', 'elsewhere'))
    const { updatedAt: again } = await backend.saveSnapshot(atTask('i'))
    expect((await tasksOf(backend, 'i')).get('a')).toMatchObject({
      ...fresh,
      availableSince: again,
    })
    await claim(backend, 'i')
    await backend.deleteSnapshot('i')
    await t.elapse(5)
    const { updatedAt: recreated } = await backend.saveSnapshot(atTask('i'))
    expect((await tasksOf(backend, 'i')).get('a')).toMatchObject({
      ...fresh,
      availableSince: recreated,
    })
  }),

  rule(
    'D2',
    'a committed step waits since its commit, an unpaused one since it went on',
    async (t) => {
      const backend = await t.open()
      await backend.saveSnapshot(atTask('i'))
      const held = await claim(backend, 'i')
      await t.elapse(5)
      await commit(backend, held, 'from a', toTask('b'))
      const { updatedAt } = await backend.loadSnapshot('i')
      expect((await tasksOf(backend, 'i')).get('b')?.availableSince).toBe(updatedAt)
      await backend.storeSignal('i', 'pause')
      expect(await backend.checkAndPause('i')).toBe(true)
      await t.elapse(5)
      const unpaused = await backend.unpause('i')
      expect(unpaused.updatedAt).toBeGreaterThan(updatedAt)
      expect((await tasksOf(backend, 'i')).get('b')?.availableSince).toBe(unpaused.updatedAt)
    },
  ),

  rule('D2', 'a task that is put off waits from when it is due', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const pendingTasks = [{ taskId: 'x', delayMs: SHORT_MS }]
    const position = { kind: 'at-fork', forkId: 'f', pendingTasks, join: { taskId: 'j' } } as const
    await run(backend, 'i', 'a', 'out', { position })
    const { updatedAt } = await backend.loadSnapshot('i')
    await t.elapse(SHORT_MS + 10)
    expect((await tasksOf(backend, 'i')).get('x')?.availableSince).toBe(updatedAt + SHORT_MS)
  }),

  rule('D2', 'a save that goes to another round or fork gives the input of then', async (t) => {
    const backend = await t.open()
    const inputOf = async (instanceId: string, taskId: string): Promise<string | null> =>
      text((await tasksOf(backend, instanceId)).get(taskId)?.input)
    const round = (iteration: number) =>
      ({ kind: 'in-loop', loopId: 'l', iteration, nextTaskId: 'a' }) as const
    const looping = await backend.saveSnapshot(at('loop', round(0)))
    expect(await inputOf('loop', 'a')).toBe('in')
    await backend.saveSnapshot(moveTo(completeTask(looping, 'a', bytes('round 1')), round(1)))
    expect(await inputOf('loop', 'a')).toBe('round 1')
    const forked = await backend.saveSnapshot(atFork('fork', ['x', 'y']))
    expect(await inputOf('fork', 'x')).toBe('in')
    const { position } = atFork('fork', ['x', 'z']).state as { position: AtFork }
    const moved = moveTo(completeTask(forked, 'y', bytes('from y')), { ...position, forkId: 'two' })
    await backend.saveSnapshot(moved)
    expect(await inputOf('fork', 'x')).toBe('from y')
  }),

  rule('D2', 'a save that makes a waiting task more urgent moves it ahead', async (t) => {
    const backend = await t.open({ agingIntervalMs: LONG_MS })
    await backend.saveSnapshot(atFork('i', [{ taskId: 'x' }, { taskId: 'y', priority: 5 }]))
    const order = async (): Promise<string[]> =>
      (await backend.findAvailableTasks({ workerId: WORKER, limit: 10 })).map(
        ({ taskId, priority }) => `${taskId} ${priority}`,
      )
    expect(await order()).toEqual(['x 3', 'y 5'])
    await backend.saveSnapshot(atFork('i', [{ taskId: 'x' }, { taskId: 'y', priority: 1 }]))
    expect(await order()).toEqual(['y 1', 'x 3'])
    await backend.saveSnapshot(atTask('i', 'x', { priority: 4 }))
    expect(await order()).toEqual(['x 4'])
  }),

  rule('D2', 'the input is 0 bytes where there is none', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i', 'a', { initialInput: null }))
    const { task } = await claimOne(backend)
    expect(task).toMatchObject({
      input: new Uint8Array(0),
      traceParent: null,
      tags: [],
      priority: 3,
    })
  }),

  rule('D2', 'a join has its branches for input', async (t) => {
    const backend = await t.open()
    const completedBranches = new Map([
      ['right', { taskId: 'y2', output: bytes('from y2') }],
      ['left', { taskId: 'x', output: bytes('') }],
    ])
    await backend.saveSnapshot(at('i', { kind: 'at-join', joinId: 'j', completedBranches }))
    const { task } = await claimOne(backend)
    expect(task).toMatchObject({ taskId: 'j', input: new Uint8Array(0) })
    expect([...task.branches]).toEqual([...completedBranches])
  }),
]
