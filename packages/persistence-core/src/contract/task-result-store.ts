import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import { completeTask, failWorkflow, pauseWorkflow, scheduleRetry } from '../transitions.ts'
import { bytes, type ContractTest, failure, refused, rule, text } from './context.ts'
import {
  at,
  atFork,
  atTask,
  claim,
  completed,
  found,
  LONG_MS,
  SHORT_MS,
  toEnd,
} from './fixtures.ts'
import { AWKWARD_IDS, contentOf, filled, plain, roundTrip, unchanged } from './stored.ts'

/** Rule S10: single results. */
export const taskResultStoreTests: readonly ContractTest[] = [
  rule('S10', 'a result is stored as the last completed; the position stays', async (t) => {
    const backend = await t.open()
    let expected = await backend.saveSnapshot(atTask('i'))
    // The third replaces the first, and moves to the end.
    for (const [taskId, output] of [
      ['x', 'one'],
      ['a', 'two'],
      ['x', 'three'],
      ['y', ''],
    ] as const) {
      await backend.saveTaskResult({ instanceId: 'i', taskId, output: bytes(output) })
      const loaded = await backend.loadSnapshot('i')
      expect(contentOf(loaded)).toEqual(contentOf(completeTask(expected, taskId, bytes(output))))
      expect(loaded.revision).toBe(expected.revision + 1)
      expect(text(await backend.loadTaskResult('i', taskId))).toBe(output)
      expect(await found(backend)).toEqual(['i/a'])
      expected = loaded
    }
    expect([...expected.state.completedTasks.keys()]).toEqual(['a', 'x', 'y'])
  }),

  rule(
    'S10',
    'a result that is not there is null; on an unknown instance it is NOT_FOUND',
    async (t) => {
      const backend = await t.open()
      await failure(backend.loadTaskResult('i', 'a'), 'NOT_FOUND')
      await failure(
        backend.saveTaskResult({ instanceId: 'i', taskId: 'a', output: bytes('x') }),
        'NOT_FOUND',
      )
      await failure(backend.loadSnapshot('i'), 'NOT_FOUND')
      await backend.saveSnapshot(atTask('i'))
      for (const taskId of AWKWARD_IDS) {
        expect(await backend.loadTaskResult('i', taskId)).toBeNull()
      }
      // Nothing is not nothing.
      await backend.saveTaskResult({ instanceId: 'i', taskId: 'a', output: new Uint8Array(0) })
      expect(await backend.loadTaskResult('i', 'a')).toHaveLength(0)
    },
  ),

  rule('S10', 'results of any task id stay apart, in their order', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await backend.saveSnapshot(atTask('i/'))
    for (const taskId of AWKWARD_IDS) {
      await backend.saveTaskResult({ instanceId: 'i', taskId, output: bytes(`of ${taskId}`) })
    }
    for (const taskId of AWKWARD_IDS) {
      expect(text(await backend.loadTaskResult('i', taskId))).toBe(`of ${taskId}`)
    }
    const { state } = await backend.loadSnapshot('i')
    expect([...state.completedTasks.keys()]).toEqual(AWKWARD_IDS)
    expect((await backend.loadSnapshot('i/')).state.completedTasks.size).toBe(0)
  }),

  rule('S10', 'a result of many bytes comes back byte for byte', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    for (const size of [1, 65_535, 65_536, 400_000, 1_048_576]) {
      const output = Uint8Array.from({ length: size }, (_, index) => (index * 7 + size) % 256)
      await backend.saveTaskResult({ instanceId: 'i', taskId: 'a', output })
      const loaded = await backend.loadTaskResult('i', 'a')
      expect(plain(loaded)).toBe(plain(output))
    }
  }),

  rule('S10', 'results of an ended instance stay readable until it is deleted', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('failed'))
    await backend.saveTaskResult({ instanceId: 'failed', taskId: 'x', output: bytes('kept') })
    await backend.saveSnapshot(failWorkflow(await backend.loadSnapshot('failed'), 'boom'))
    await backend.saveSnapshot(completeTask(atTask('completed'), 'x', bytes('kept')))
    const held = await claim(backend, 'completed')
    await backend.commitTask({ claim: held, outcome: completed('out', toEnd('end')) })
    await backend.saveSnapshot(completeTask(atTask('cancelled'), 'x', bytes('kept')))
    await backend.storeSignal('cancelled', 'cancel')
    expect(await backend.checkAndCancel('cancelled')).toBe(true)
    for (const id of ['failed', 'completed', 'cancelled']) {
      expect(text(await backend.loadTaskResult(id, 'x'))).toBe('kept')
      expect(text((await backend.loadSnapshot(id)).state.completedTasks.get('x')?.output)).toBe(
        'kept',
      )
      await failure(
        backend.saveTaskResult({ instanceId: id, taskId: 'x', output: bytes('late') }),
        'TERMINAL',
      )
    }
    expect(text(await backend.loadTaskResult('completed', 'a'))).toBe('out')
    await backend.deleteSnapshot('completed')
    await failure(backend.loadTaskResult('completed', 'x'), 'NOT_FOUND')
  }),

  rule(
    'S10',
    'a result ends its task’s retry state, and nobody’s claim or place in the queue',
    async (t) => {
      const backend = await t.open()
      const retry = { error: 'boom', workerId: 'w', retryAt: 0 }
      const failed = scheduleRetry(scheduleRetry(atTask('i'), 'a', retry), 'b', retry)
      await backend.saveSnapshot(failed)
      const [before] = await backend.findAvailableTasks({ workerId: 'w', limit: 1 })
      expect(before?.attempt).toBe(2)
      await t.elapse(10)
      const held = await claim(backend, 'i')
      await backend.saveTaskResult({ instanceId: 'i', taskId: 'a', output: bytes('x') })
      expect([...(await backend.loadSnapshot('i')).retries.keys()]).toEqual(['b'])
      expect(await found(backend)).toEqual([])
      await backend.releaseTaskClaim(held)
      const [after] = await backend.findAvailableTasks({ workerId: 'w', limit: 1 })
      expect(after).toMatchObject({ attempt: 1, deliveries: 1 })
      expect(after?.availableSince).toBe(before?.availableSince)
    },
  ),

  rule('S10', 'with a claim it lands only while that is held', async (t) => {
    const backend = await t.open()
    const before = await backend.saveSnapshot(atFork('i', ['a', 'b']))
    await backend.saveSnapshot(atTask('j'))
    const output = bytes('x')
    const store = (ref: object): Promise<void> =>
      backend.saveTaskResult({ instanceId: 'i', taskId: 'a', output, claim: ref as typeof held })
    const held = await claim(backend, 'i', 'a', { ttlMs: SHORT_MS })
    const { token: _, ...unnumbered } = held
    await refused(() => store({ ...held, instanceId: 'j' }), TypeError)
    for (const ref of [
      { ...held, token: held.token + 1 },
      { ...held, workerId: 'worker-2' },
      { ...unnumbered, workerId: 'worker-2' },
      { ...held, taskId: 'b' },
    ]) {
      await failure(store(ref), 'CLAIM_LOST')
    }
    await unchanged(backend, before)
    await store(unnumbered)
    // A claim lets its holder store results of other tasks of the instance too.
    const side = bytes('from the side')
    await backend.saveTaskResult({ instanceId: 'i', taskId: 'side', output: side, claim: held })
    expect(text(await backend.loadTaskResult('i', 'side'))).toBe('from the side')
    expect(text(await backend.loadTaskResult('i', 'a'))).toBe('x')
    await t.elapse(SHORT_MS)
    await store(held)
    const taken = await claim(backend, 'i', 'a', { workerId: 'worker-2' })
    const between = await backend.loadSnapshot('i')
    expect(between.revision).toBe(4)
    await failure(store(held), 'CLAIM_LOST')
    await unchanged(backend, between)
    await store(taken)
    await backend.releaseTaskClaim(taken)
    await failure(store(taken), 'CLAIM_LOST')
  }),

  rule('S10', 'a paused instance takes results', async (t) => {
    const backend = await t.open()
    const paused = await backend.saveSnapshot(pauseWorkflow(atTask('i'), { at: 1, reason: 'r' }))
    await backend.saveTaskResult({ instanceId: 'i', taskId: 'a', output: bytes('x') })
    const loaded = await backend.loadSnapshot('i')
    expect(contentOf(loaded)).toEqual(contentOf(completeTask(paused, 'a', bytes('x'))))
  }),

  rule('S10', 'twenty results stored at once are all there', async (t) => {
    const backends = await t.openMany(4)
    const [first] = backends as [PersistentBackend]
    await first.saveSnapshot(atFork('i', ['a']))
    const held = await claim(first, 'i', 'a', { ttlMs: LONG_MS })
    const calls = Array.from({ length: 20 }, (_, index) =>
      (backends[index % 4] as PersistentBackend).saveTaskResult({
        instanceId: 'i',
        taskId: `task-${index}`,
        output: filled(index, index),
      }),
    )
    const outcome = completed('branch', { branch: null })
    await Promise.all([...calls, first.commitTask({ claim: held, outcome })])
    const { revision, state } = await first.loadSnapshot('i')
    expect(revision).toBe(22)
    expect(state.completedTasks.size).toBe(21)
    for (let index = 0; index < 20; index += 1) {
      const output = state.completedTasks.get(`task-${index}`)?.output
      expect(plain(output)).toBe(plain(filled(index, index)))
    }
  }),

  rule('S10', 'a finished branch keeps the result that it finished with', async (t) => {
    const backend = await t.open()
    // A store may keep a short one twice, and a long one in one place.
    for (const finished of ['finished', 'finished'.repeat(50)]) {
      const done = new Map([['left', { taskId: 'b', output: bytes(finished) }]])
      const position = { kind: 'at-join', joinId: 'j', completedBranches: done } as const
      await backend.saveSnapshot(completeTask(at('i', position), 'b', bytes(finished)))
      const output = bytes(finished.toUpperCase())
      await backend.saveTaskResult({ instanceId: 'i', taskId: 'b', output })
      expect(text(await backend.loadTaskResult('i', 'b'))).toBe(finished.toUpperCase())
      const [task] = await backend.findAvailableTasks({ workerId: 'w', limit: 1 })
      expect(plain(task?.branches)).toEqual(plain(done))
      const { state } = await backend.loadSnapshot('i')
      expect(plain('position' in state && state.position)).toEqual(plain(position))
      await backend.deleteSnapshot('i')
      // Also where the two differ from the start.
      await roundTrip(backend, completeTask(at('i', position), 'b', output))
    }
  }),
]
