import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import { bytes, type ContractTest, failure, rule, text } from './context.ts'
import { at, atTask, claim, found, LONG_MS, SHORT_MS } from './fixtures.ts'
import { CLAIM_NEXT, commit, outputsOf, positionIn, run, storeTime, tasksOf } from './steps.ts'

function signal(timeoutMs: number | null, nextTaskId: string | null = 'b') {
  return {
    kind: 'at-signal',
    signalId: 'approval',
    signalName: 'approve',
    timeoutMs,
    nextTaskId,
  } as const
}

function signalUntil(wakeAt: number | null, nextTaskId: string | null = 'b') {
  return {
    kind: 'at-signal',
    signalId: 'approval',
    signalName: 'approve',
    wakeAt,
    nextTaskId,
  } as const
}

async function park(
  backend: PersistentBackend,
  instanceId: string,
  timeoutMs: number | null,
  nextTaskId: string | null = 'b',
): Promise<void> {
  await backend.saveSnapshot(atTask(instanceId))
  await run(backend, instanceId, 'a', 'from a', { position: signal(timeoutMs, nextTaskId) })
}

async function queued(backend: PersistentBackend, instanceId: string): Promise<string | null> {
  return text(await backend.consumeEvent(instanceId, 'approve'))
}

/** Rule E3: signals whose time is up. */
export const signalTimeoutTests: readonly ContractTest[] = [
  rule('E3', 'a signal whose time is not up hands nothing out', async (t) => {
    const backend = await t.open()
    await park(backend, 'timed', LONG_MS)
    await park(backend, 'endless', null)
    expect(await found(backend)).toEqual([])
    for (const instanceId of ['timed', 'endless']) {
      expect(
        await backend.claimTask({ instanceId, taskId: 'b', workerId: 'w', ttlMs: LONG_MS }),
      ).toBeNull()
    }
    const { updatedAt } = await backend.loadSnapshot('timed')
    expect(await positionIn(backend, 'timed')).toEqual(signalUntil(updatedAt + LONG_MS))
    expect(await positionIn(backend, 'endless')).toEqual(signalUntil(null))
  }),

  rule('E3', 'when the time is up it goes on with an empty payload', async (t) => {
    const backend = await t.open()
    await park(backend, 'i', SHORT_MS)
    const { updatedAt } = await backend.loadSnapshot('i')
    await t.elapse(SHORT_MS)
    const task = (await tasksOf(backend, 'i')).get('b')
    expect(task).toMatchObject({ availableSince: updatedAt + SHORT_MS, attempt: 1 })
    expect(task?.input).toHaveLength(0)
    const snapshot = await backend.loadSnapshot('i')
    expect(outputsOf(snapshot)).toEqual([
      ['a', 'from a'],
      ['approval', ''],
    ])
    expect(snapshot).toMatchObject({ revision: 3, state: { lastCompletedTaskId: 'approval' } })
    await run(backend, 'i', 'b', 'from b', { finalOutput: bytes('end') })
  }),

  rule('E3', 'a claim that advances the time-out gets the empty payload', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(at('dispatch', signalUntil(0)))
    const [one] = await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: LONG_MS })
    expect(one?.task).toMatchObject({ taskId: 'b', deliveries: 1 })
    expect(one?.task.input).toHaveLength(0)
    expect(one?.head.state).toMatchObject({
      position: { kind: 'at-task', taskId: 'b' },
      lastCompletedTaskId: 'approval',
    })
    await backend.saveSnapshot(at('direct', signalUntil(0)))
    await claim(backend, 'direct', 'b')
    expect(outputsOf(await backend.loadSnapshot('direct'))).toEqual([['approval', '']])
  }),

  rule('E3', 'a time-out with nothing after it completes with an empty output', async (t) => {
    const backend = await t.open()
    await park(backend, 'i', SHORT_MS, null)
    await t.elapse(SHORT_MS)
    expect(await found(backend)).toEqual([])
    const snapshot = await backend.loadSnapshot('i')
    expect(snapshot.state).toMatchObject({ status: 'completed', finalOutput: bytes('') })
    expect(outputsOf(snapshot)).toEqual([
      ['a', 'from a'],
      ['approval', ''],
    ])
  }),

  rule('E3', 'an event after the time-out is queued for the next parking', async (t) => {
    const backend = await t.open()
    for (const seen of [true, false]) {
      const instanceId = seen ? 'seen' : 'unseen'
      await park(backend, instanceId, SHORT_MS)
      await t.elapse(SHORT_MS)
      // Whether anybody advanced the instance before the event came makes no difference.
      if (seen) await found(backend)
      await backend.sendEvent(instanceId, 'approve', bytes('late'))
      expect(outputsOf(await backend.loadSnapshot(instanceId))).toEqual([
        ['a', 'from a'],
        ['approval', ''],
      ])
      expect(await positionIn(backend, instanceId)).toEqual({ kind: 'at-task', taskId: 'b' })
      await run(backend, instanceId, 'b', 'from b', { position: signal(null, 'c') })
      expect(text((await tasksOf(backend, instanceId)).get('c')?.input)).toBe('late')
      expect(await queued(backend, instanceId)).toBeNull()
    }
  }),

  rule('E3', 'an event after the time-out that ends the instance comes too late', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(at('i', signalUntil(0, null)))
    await failure(backend.sendEvent('i', 'approve', bytes('late')), 'TERMINAL')
    expect((await backend.loadSnapshot('i')).state).toMatchObject({
      status: 'completed',
      finalOutput: bytes(''),
    })
  }),

  rule('E3', 'an event queued before the parking wins over a time already up', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('saved'))
    await backend.sendEvent('saved', 'approve', bytes('early'))
    const stored = await backend.saveSnapshot(at('saved', signalUntil(0)))
    expect(outputsOf(stored)).toEqual([['approval', 'early']])
    await backend.saveSnapshot(atTask('committed'))
    await backend.sendEvent('committed', 'approve', bytes('early'))
    const held = await claim(backend, 'committed')
    const { next } = await commit(backend, held, '', { position: signal(0) }, CLAIM_NEXT)
    expect(next?.task).toMatchObject({ instanceId: 'committed', input: bytes('early') })
  }),

  rule('E3', 'a time-out of nothing is up at once, without an event', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    const { next } = await commit(backend, held, 'from a', { position: signal(0) }, CLAIM_NEXT)
    expect(next?.task).toMatchObject({ instanceId: 'i', taskId: 'b', input: bytes('') })
  }),

  rule('E3', 'an event queued while paused wins over a time that ran out meanwhile', async (t) => {
    const backend = await t.open()
    for (const instanceId of ['event', 'none']) {
      await park(backend, instanceId, SHORT_MS)
      await backend.storeSignal(instanceId, 'pause')
      expect(await backend.checkAndPause(instanceId)).toBe(true)
    }
    await t.elapse(SHORT_MS)
    expect(await found(backend)).toEqual([])
    await backend.sendEvent('event', 'approve', bytes('yes'))
    const resumed = await backend.unpause('event')
    expect(outputsOf(resumed).at(-1)).toEqual(['approval', 'yes'])
    expect(text((await tasksOf(backend, 'event')).get('b')?.input)).toBe('yes')
    expect(await queued(backend, 'event')).toBeNull()
    await backend.unpause('none')
    expect((await tasksOf(backend, 'none')).get('b')?.input).toHaveLength(0)
    await backend.sendEvent('none', 'approve', bytes('late'))
    expect(await queued(backend, 'none')).toBe('late')
  }),

  rule('E3', 'an event in time is taken, and the time-out does not come again', async (t) => {
    const backend = await t.open()
    const now = await storeTime(backend)
    await backend.saveSnapshot(at('i', signalUntil(now + LONG_MS)))
    await backend.sendEvent('i', 'approve', bytes('yes'))
    const task = (await tasksOf(backend, 'i')).get('b')
    expect(task).toMatchObject({ input: bytes('yes') })
    // It became due when the event came, not when the time would have been up.
    expect(task?.availableSince).toBeLessThan(now + LONG_MS)
    await run(backend, 'i', 'b', 'from b', { position: { kind: 'not-started' } })
    expect(await found(backend)).toEqual([])
    expect(outputsOf(await backend.loadSnapshot('i'))).toEqual([
      ['approval', 'yes'],
      ['b', 'from b'],
    ])
  }),
]
