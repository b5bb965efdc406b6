import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import { MAX_TIME } from '../check.ts'
import { bytes, type ContractTest, collect, failure, rule, text } from './context.ts'
import { at, atTask, claim, claimOne, completed, found, LONG_MS, toEnd } from './fixtures.ts'
import { methods } from './methods.ts'
import { CLAIM_NEXT, commit, toBranch } from './steps.ts'

/** More than some stores take as one item. */
const HUGE = new Uint8Array(450_000)
/** More than some stores keep beside the rest. */
const LARGE = new Uint8Array(70_000)

/** The same backend, which notes the names of the methods that are called. */
function noting(backend: PersistentBackend, called: Set<string>): PersistentBackend {
  return new Proxy(backend, {
    get: (_, name) => {
      const value: unknown = Reflect.get(backend, name)
      if (typeof value !== 'function') return value
      called.add(String(name))
      return value.bind(backend)
    },
  })
}

/** Makes every call, as a whole workflow makes it: what a user lacks a privilege for shows as `BACKEND`. */
async function useAll(backend: PersistentBackend): Promise<void> {
  await backend.checkHealth()
  await backend.saveSnapshot(atTask('huge', 'a', { initialInput: HUGE }))
  expect(await backend.waitForWakeup({ timeoutMs: LONG_MS })).not.toBeNull()
  expect(await found(backend)).toEqual(['huge/a'])
  const { claim: huge, task } = await claimOne(backend)
  expect(Buffer.compare(task.input, HUGE)).toBe(0)
  await backend.extendTaskClaim(huge, LONG_MS)
  await backend.renewTaskClaim(huge, LONG_MS)
  await backend.releaseTaskClaim(huge)
  await backend.deleteSnapshot('huge')

  await backend.saveSnapshot(atTask('i'))
  const position = {
    kind: 'at-fork',
    forkId: 'f',
    pendingTasks: [{ taskId: 'x' }, { taskId: 'y', tags: ['gpu'] }, { taskId: 'z', priority: 1 }],
    join: { taskId: 'join' },
  } as const
  const forked = await backend.commitTask({
    claim: await claim(backend, 'i'),
    outcome: { kind: 'completed', output: LARGE, next: { position } },
    claimNext: CLAIM_NEXT,
  })
  expect(forked.next?.claim.taskId).toBe('z')
  await commit(backend, await claim(backend, 'i', 'x'), 'x', toBranch(null))
  await commit(backend, await claim(backend, 'i', 'y'), 'y', toBranch(null))
  const { claim: last } = forked.next ?? expect.fail('the fork hands out its tasks')
  const joined = await commit(backend, last, 'z', toBranch(null), CLAIM_NEXT)
  const { claim: join, task: joining } = joined.next ?? expect.fail('the join is handed out')
  expect(joining.branches.size).toBe(3)
  await backend.commitTask({
    claim: join,
    outcome: { kind: 'retry', error: 'once more', delayMs: 0, maxAttempts: 2 },
  })
  const parked = { signalId: 's', signalName: 'go', timeoutMs: null, nextTaskId: 'b' }
  await commit(backend, await claim(backend, 'i', 'join'), 'joined', {
    position: { kind: 'at-signal', ...parked },
  })

  await backend.sendEvent('i', 'later', LARGE, { eventId: 'e' })
  await backend.sendEvent('i', 'go', bytes('event'))
  const later = (await backend.consumeEvent('i', 'later')) ?? bytes('')
  expect(Buffer.compare(later, LARGE)).toBe(0)
  expect(text(await backend.loadTaskResult('i', 's'))).toBe('event')
  await backend.saveTaskResult({ instanceId: 'i', taskId: 'beside', output: bytes('beside') })

  await backend.storeSignal('i', 'pause', { reason: 'r' })
  expect((await backend.getSignal('i', 'pause'))?.reason).toBe('r')
  expect(await backend.checkAndPause('i')).toBe(true)
  await backend.unpause('i')
  await backend.storeSignal('i', 'pause')
  await backend.clearSignal('i', 'pause')
  expect(await backend.checkControlSignals('i')).toBeNull()
  const loaded = await backend.loadSnapshot('i')
  expect([...loaded.state.completedTasks.keys()]).toEqual([
    ...['a', 'x', 'y', 'z', 'join', 's', 'beside'],
  ])
  await backend.saveSnapshot(loaded, { expectedRevision: loaded.revision })
  await commit(backend, await claim(backend, 'i', 'b'), 'done', toEnd('end'))

  // A timer that whoever looks next has to go on from, and an instance that is cancelled.
  const over = {
    kind: 'at-delay',
    delayId: 'd',
    enteredAt: 0,
    wakeAt: 1,
    nextTaskId: null,
  } as const
  await backend.saveSnapshot(at('timer', over))
  expect(await found(backend)).toEqual([])
  await backend.saveSnapshot(atTask('j'))
  await backend.storeSignal('j', 'cancel')
  expect(await backend.checkAndCancel('j')).toBe(true)
  const listed = await collect(backend.listSnapshots())
  expect(listed.map(({ instanceId, status }) => `${instanceId} ${status}`)).toEqual([
    ...['i completed', 'j cancelled', 'timer completed'],
  ])
  expect((await backend.stats()).byStatus).toMatchObject({ completed: 2, cancelled: 1 })
  expect(await backend.prune({ endedBefore: MAX_TIME })).toEqual({ deleted: 3, more: false })
  expect(await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: null })).toEqual([])
}

/** Rule M5: set-up apart from running, and no more privileges than running needs. */
export const privilegeTests: readonly ContractTest[] = [
  rule('M5', 'with the least privileges, and set up by another, every call works', async (t) => {
    const namespace = t.namespace()
    const { leastPrivileges } = t.harness
    await leastPrivileges?.setUp(namespace)
    // Where nothing is set up apart, whoever connects has all that there is to have.
    await using backend =
      (await leastPrivileges?.connect(namespace)) ?? (await t.harness.connect(namespace))
    const called = new Set<string>()
    await useAll(noting(backend, called))
    expect(methods.filter(({ name }) => !called.has(name))).toEqual([])
    // Or it would prove nothing: the user's privileges end where set-up begins.
    if (leastPrivileges?.overreach !== undefined)
      await expect(leastPrivileges.overreach(namespace)).rejects.toThrow()
  }),

  rule('M5', 'who is not to set up is refused where nobody has, and sets nothing up', async (t) => {
    const namespace = t.namespace()
    const { leastPrivileges } = t.harness
    if (leastPrivileges === undefined) {
      // There is no set-up apart: a namespace that nobody has seen is ready.
      await (await t.openOn(namespace)).checkHealth()
      return
    }
    await failure(leastPrivileges.connect(namespace), 'SCHEMA')
    // Again: the first has not set it up after all.
    await failure(leastPrivileges.connect(namespace), 'SCHEMA')
    await leastPrivileges.setUp(namespace)
    await using backend = await leastPrivileges.connect(namespace)
    await backend.saveSnapshot(atTask('i'))
    await leastPrivileges.setUp(namespace)
    expect((await backend.loadSnapshot('i')).revision).toBe(1)
    const held = await claim(backend, 'i')
    await backend.commitTask({ claim: held, outcome: completed('out', toEnd('end')) })
  }),
]
