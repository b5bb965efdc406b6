import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { Position } from '../position.ts'
import type { ClaimedTask, TaskClaim } from '../task-claim-store.ts'
import { bytes, type ContractTest, failure, rule, text } from './context.ts'
import { drain } from './event.ts'
import { at, atTask, claim, found, LONG_MS, toTask } from './fixtures.ts'
import {
  CLAIM_NEXT,
  commit,
  outputsOf,
  placeOf,
  positionIn,
  run,
  tasksOf,
  together,
} from './steps.ts'

function claimOf(next: ClaimedTask | null): TaskClaim {
  return next?.claim ?? expect.fail('the next task should come with the commit')
}

function parked(nextTaskId: string | null = 'b', signalName = 'go') {
  return {
    kind: 'at-signal',
    signalId: 'sig',
    signalName,
    wakeAt: null,
    nextTaskId,
  } as const satisfies Position
}

function parking(nextTaskId: string | null = 'b', signalName = 'go') {
  const { wakeAt, ...position } = parked(nextTaskId, signalName)
  return { position: { ...position, timeoutMs: wakeAt } } as const
}

/** That instance `i` took this event, and stands at task `b` with it. */
async function expectTaken(backend: PersistentBackend, payload: string): Promise<void> {
  const snapshot = await backend.loadSnapshot('i')
  expect(placeOf(snapshot)).toEqual({ kind: 'at-task', taskId: 'b' })
  expect(outputsOf(snapshot).at(-1)).toEqual(['sig', payload])
  expect(snapshot.state).toMatchObject({ lastCompletedTaskId: 'sig' })
  expect(text((await tasksOf(backend, 'i')).get('b')?.input)).toBe(payload)
}

/** Rules E3 and E4: events for an instance that waits for them. */
export const signalEventTests: readonly ContractTest[] = [
  rule('E3', 'an event that comes while the instance waits is taken', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(at('i', parked()))
    await backend.sendEvent('i', 'other', bytes('no'))
    expect(await positionIn(backend, 'i')).toEqual(parked())
    expect(await found(backend)).toEqual([])
    await backend.sendEvent('i', 'go', bytes('yes'))
    expect((await backend.loadSnapshot('i')).revision).toBe(2)
    await expectTaken(backend, 'yes')
    expect(await backend.consumeEvent('i', 'go')).toBeNull()
    expect(await drain(backend, 'i', 'other')).toEqual(['no'])
    expect(await claim(backend, 'i', 'b')).toMatchObject({ taskId: 'b' })
  }),

  rule('E3', 'an event that came before a save parked the instance is taken', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await backend.sendEvent('i', 'go', bytes('first'))
    await backend.sendEvent('i', 'go', bytes('second'))
    const stored = await backend.saveSnapshot(at('i', parked()))
    // One step, one revision, and the answer shows where the instance is now.
    expect(stored).toEqual(await backend.loadSnapshot('i'))
    expect(stored.revision).toBe(2)
    await expectTaken(backend, 'first')
    expect(await drain(backend, 'i', 'go')).toEqual(['second'])
  }),

  rule('E3', 'a task that was running before the signal starts anew behind it', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i', 'b'))
    const held = await claim(backend, 'i', 'b')
    await backend.sendEvent('i', 'go', bytes('payload'))
    // Parked and gone on in one step, but past the signal all the same.
    await backend.saveSnapshot(at('i', parked('b')))
    await expectTaken(backend, 'payload')
    await failure(backend.renewTaskClaim(held, LONG_MS), 'CLAIM_LOST')
    expect((await tasksOf(backend, 'i')).get('b')).toMatchObject({ deliveries: 0, attempt: 1 })
  }),

  rule('E3', 'an event that came before a commit parked the instance is taken', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    await backend.sendEvent('i', 'go', bytes('first'))
    await backend.sendEvent('i', 'go', bytes('second'))
    const receipt = await commit(backend, held, 'from a', parking())
    expect(receipt).toEqual({ revision: 2, status: 'in-progress', next: null })
    await expectTaken(backend, 'first')
    expect(await drain(backend, 'i', 'go')).toEqual(['second'])
  }),

  rule('E3', 'an event that came several commits before the parking is taken', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i', 'x'))
    const held = await claim(backend, 'i', 'x')
    await backend.sendEvent('i', 'go', bytes('early'))
    const { next } = await commit(backend, held, 'x', toTask('y'), CLAIM_NEXT)
    const { next: last } = await commit(backend, claimOf(next), 'y', toTask('z'), CLAIM_NEXT)
    await commit(backend, claimOf(last), 'z', parking())
    expect(text((await tasksOf(backend, 'i')).get('b')?.input)).toBe('early')
    expect(await drain(backend, 'i', 'go')).toEqual([])
  }),

  rule(
    'E3',
    'a worker that parks its instance can claim what an early event lets run',
    async (t) => {
      const backend = await t.open()
      await backend.saveSnapshot(atTask('i'))
      await backend.sendEvent('i', 'go', bytes('early'))
      const held = await claim(backend, 'i')
      const { next } = await commit(backend, held, 'from a', parking(), CLAIM_NEXT)
      expect(next?.task).toMatchObject({ instanceId: 'i', taskId: 'b', input: bytes('early') })
      expect(next?.head).toMatchObject({ revision: 2, state: { lastCompletedTaskId: 'sig' } })
    },
  ),

  rule('E3', 'an event for a paused instance waits, and unpause goes on with it', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(at('i', parked()))
    await backend.storeSignal('i', 'pause')
    await backend.checkAndPause('i')
    await backend.sendEvent('i', 'go', bytes('first'))
    await backend.sendEvent('i', 'go', bytes('second'))
    const paused = await backend.loadSnapshot('i')
    expect([paused.state.status, placeOf(paused)]).toEqual(['paused', parked()])
    const resumed = await backend.unpause('i')
    expect(resumed).toEqual(await backend.loadSnapshot('i'))
    expect(resumed).toMatchObject({ revision: 3, state: { status: 'in-progress' } })
    await expectTaken(backend, 'first')
    expect(await drain(backend, 'i', 'go')).toEqual(['second'])
  }),

  rule('E3', 'a paused instance that a commit parks takes its event at unpause', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await backend.sendEvent('i', 'go', bytes('early'))
    const held = await claim(backend, 'i')
    await backend.storeSignal('i', 'pause')
    // The commit applies the pause, so the event stays where it is.
    expect(await commit(backend, held, 'from a', parking())).toMatchObject({ status: 'paused' })
    expect(await positionIn(backend, 'i')).toEqual(parked())
    await backend.unpause('i')
    await expectTaken(backend, 'early')
  }),

  rule('E3', 'an event can be consumed by hand while the instance is paused', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(at('i', parked()))
    await backend.storeSignal('i', 'pause')
    await backend.checkAndPause('i')
    await backend.sendEvent('i', 'go', bytes('by hand'))
    expect(await drain(backend, 'i', 'go')).toEqual(['by hand'])
    expect(placeOf(await backend.unpause('i'))).toEqual(parked())
  }),

  rule('E3', 'with no next task the payload is the final output', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(at('during', parked(null)))
    await backend.sendEvent('during', 'go', bytes('end'))
    await backend.saveSnapshot(atTask('before'))
    await backend.sendEvent('before', 'go', bytes('end'))
    const receipt = await run(backend, 'before', 'a', 'from a', parking(null))
    expect(receipt).toEqual({ revision: 2, status: 'completed', next: null })
    for (const instanceId of ['during', 'before']) {
      const snapshot = await backend.loadSnapshot(instanceId)
      expect(snapshot.state).toMatchObject({ status: 'completed', finalOutput: bytes('end') })
      expect(outputsOf(snapshot).at(-1)).toEqual(['sig', 'end'])
      expect(text(await backend.loadTaskResult(instanceId, 'sig'))).toBe('end')
      await failure(backend.sendEvent(instanceId, 'go', bytes('late')), 'TERMINAL')
    }
  }),

  rule('E3', 'an instance can wait again and again, for signals of different names', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(at('i', parked('b', 'one')))
    await backend.sendEvent('i', 'two', bytes('2'))
    await backend.sendEvent('i', 'one', bytes('1'))
    await expectTaken(backend, '1')
    await run(backend, 'i', 'b', 'from b', parking('b', 'two'))
    await expectTaken(backend, '2')
    await run(backend, 'i', 'b', 'from b again', parking('b', 'one'))
    expect(await positionIn(backend, 'i')).toEqual(parked('b', 'one'))
    await backend.sendEvent('i', 'one', bytes('3'))
    await expectTaken(backend, '3')
    expect(outputsOf(await backend.loadSnapshot('i'))).toEqual([
      ['b', 'from b again'],
      ['sig', '3'],
    ])
  }),

  rule('E3', "what runs after a signal has the parking's priority and tags", async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await run(backend, 'i', 'a', '', { ...parking(), priority: 1, tags: ['gpu'] })
    await backend.sendEvent('i', 'go', new Uint8Array(0))
    expect(await found(backend, { tags: [] })).toEqual([])
    expect((await tasksOf(backend, 'i')).get('b')).toMatchObject({
      priority: 1,
      tags: ['gpu'],
      attempt: 1,
      deliveries: 0,
      input: bytes(''),
    })
  }),

  rule(
    'E3',
    'of events that race for a waiting instance one is taken, the others wait',
    async (t) => {
      const backends = await t.openMany(4)
      const of = (index: number) => backends[index % backends.length] as PersistentBackend
      await of(0).saveSnapshot(at('i', parked()))
      await together(10, (index) => of(index).sendEvent('i', 'go', bytes(`event ${index}`)))
      const snapshot = await of(1).loadSnapshot('i')
      expect(snapshot.revision).toBe(2)
      expect(placeOf(snapshot)).toEqual({ kind: 'at-task', taskId: 'b' })
      const taken = outputsOf(snapshot).map(([, payload]) => payload)
      const waiting = await drain(of(2), 'i', 'go')
      expect([taken.length, waiting.length]).toEqual([1, 9])
      expect(new Set([...taken, ...waiting]).size).toBe(10)
    },
  ),

  rule(
    'E4',
    'events that race with the commit that parks are neither lost nor taken twice',
    async (t) => {
      const backends = await t.openMany(4)
      const of = (index: number) => backends[index % backends.length] as PersistentBackend
      const rounds = 10
      const ids = Array.from({ length: rounds }, (_, index) => `i-${index}`)
      const claims = await Promise.all(
        ids.map(async (id, index) => {
          await of(index).saveSnapshot(atTask(id))
          return claim(of(index), id)
        }),
      )
      await Promise.all(
        claims.flatMap((held, index) => {
          const sends = [1, 2, 3].map(
            (event) => () =>
              of(index + event).sendEvent(held.instanceId, 'go', bytes(`event ${event}`)),
          )
          // The commit comes first, last and between, in turn.
          const calls: (() => Promise<unknown>)[] = [...sends]
          calls.splice(index % 4, 0, () => commit(of(index), held, 'from a', parking()))
          return calls.map((call) => call())
        }),
      )
      for (const id of ids) {
        const snapshot = await of(0).loadSnapshot(id)
        expect(placeOf(snapshot)).toEqual({ kind: 'at-task', taskId: 'b' })
        const [, taken] = outputsOf(snapshot)
        const waiting = await drain(of(1), id, 'go')
        expect([taken?.[1], ...waiting].toSorted()).toEqual(['event 1', 'event 2', 'event 3'])
      }
    },
  ),

  rule('E4', 'an event that races with unpause is neither lost nor taken twice', async (t) => {
    const backends = await t.openMany(2)
    const of = (index: number) => backends[index % backends.length] as PersistentBackend
    for (let round = 0; round < 8; round += 1) {
      const id = `i-${round}`
      await of(0).saveSnapshot(at(id, parked()))
      await of(0).storeSignal(id, 'pause')
      await of(0).checkAndPause(id)
      const calls: (() => Promise<unknown>)[] = [
        () => of(1).sendEvent(id, 'go', bytes('event')),
        () => of(0).unpause(id),
      ]
      if (round % 2 === 1) calls.reverse()
      await Promise.all(calls.map((call) => call()))
      const snapshot = await of(0).loadSnapshot(id)
      expect(placeOf(snapshot)).toEqual({ kind: 'at-task', taskId: 'b' })
      expect(outputsOf(snapshot)).toEqual([['sig', 'event']])
      expect(await of(1).consumeEvent(id, 'go')).toBeNull()
    }
  }),

  rule('E4', 'consumers that race with a parking instance take what it does not', async (t) => {
    const backends = await t.openMany(2)
    const of = (index: number) => backends[index % backends.length] as PersistentBackend
    for (let round = 0; round < 8; round += 1) {
      const id = `i-${round}`
      await of(0).saveSnapshot(atTask(id))
      await of(0).sendEvent(id, 'go', bytes('event'))
      const held = await claim(of(0), id, 'a', { ttlMs: LONG_MS })
      const [consumed] = await Promise.all([
        of(1).consumeEvent(id, 'go'),
        commit(of(0), held, 'from a', parking()),
      ])
      const snapshot = await of(0).loadSnapshot(id)
      const taken = snapshot.state.completedTasks.get('sig')?.output ?? null
      expect([text(consumed), text(taken)].filter((one) => one !== null)).toEqual(['event'])
      expect(placeOf(snapshot).kind).toBe(taken === null ? 'at-signal' : 'at-task')
    }
  }),
]
