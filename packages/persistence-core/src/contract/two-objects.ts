import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { Next, TaskClaim, TaskOutcome } from '../task-claim-store.ts'
import { completeTask } from '../transitions.ts'
import { bytes, type ContractTest, failure, rule, text } from './context.ts'
import { at, atFork, claim, claimOne, completed, toEnd, toTask } from './fixtures.ts'
import { outputsOf, tasksOf, toBranch } from './steps.ts'

const PARKED: Next = {
  position: {
    kind: 'at-signal',
    signalId: 's',
    signalName: 'go',
    timeoutMs: null,
    nextTaskId: 'b',
  },
}

/** Each kind of outcome, and whether the task is inside a fork. */
const OUTCOMES: readonly (readonly [TaskOutcome, boolean])[] = [
  [completed('out', toTask('b')), false],
  [completed('out', toEnd('end')), false],
  [completed('out', PARKED), false],
  [completed('out', toTask('a')), false],
  [{ kind: 'retry', error: 'e', delayMs: 0 }, false],
  [{ kind: 'failed', error: 'e' }, false],
  [completed('out', toBranch(null)), true],
  [completed('out', toBranch('b')), true],
]

function starting(instanceId: string, inFork: boolean) {
  return inFork
    ? atFork(instanceId, ['a', 'sister'], { tags: ['x'] })
    : at(instanceId, { kind: 'at-task', taskId: 'a' }, { tags: ['x'] })
}

/** What each of two objects on one store does is so for the other, which remembers something else. */
export const twoObjectTests: readonly ContractTest[] = [
  rule(
    'C4',
    'what one object remembers of a claim is lost with it, whatever it is for',
    async (t) => {
      const [one, two] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
      for (const [index, [outcome, inFork]] of OUTCOMES.entries()) {
        const instanceId = `i-${index}`
        const saved = await one.saveSnapshot(starting(instanceId, inFork))
        const held = await claim(one, instanceId, 'a')
        // Nothing of the instance has changed but who holds the task.
        await two.releaseTaskClaim(held)
        const successor = await claim(two, instanceId, 'a', { workerId: 'w2' })
        await failure(one.commitTask({ claim: held, outcome }), 'CLAIM_LOST')
        await failure(one.saveSnapshot(saved, { claim: held }), 'CLAIM_LOST')
        const result = { instanceId, taskId: 'r', output: bytes('r'), claim: held }
        await failure(one.saveTaskResult(result), 'CLAIM_LOST')
        expect((await two.loadSnapshot(instanceId)).revision).toBe(1)
        expect(await two.commitTask({ claim: successor, outcome })).toMatchObject({ revision: 2 })
      }
    },
  ),

  rule('D6', 'a commit does not undo what another object did since the claim', async (t) => {
    const [one, two] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    const started = async (instanceId: string): Promise<TaskClaim> => {
      await one.saveSnapshot(at(instanceId, { kind: 'at-task', taskId: 'a' }, { tags: ['x'] }))
      return (await claimOne(one)).claim
    }
    const goOn = (held: TaskClaim, next: Next = toTask('b')) =>
      one.commitTask({ claim: held, outcome: completed('out', next) })

    const resulted = await started('resulted')
    await two.saveTaskResult({ instanceId: 'resulted', taskId: 'r', output: bytes('r') })
    expect(await goOn(resulted)).toMatchObject({ revision: 3, status: 'in-progress' })
    const { state } = await two.loadSnapshot('resulted')
    expect(state).toMatchObject({ lastCompletedTaskId: 'a' })
    await two.deleteSnapshot('resulted')

    for (const also of [[], ['z']]) {
      const saved = await started('saved')
      const before = await two.loadSnapshot('saved')
      const snapshot = also.reduce((one, id) => completeTask(one, id, bytes('out')), before)
      await two.saveSnapshot({ ...snapshot, loopIterations: new Map([['l', 7]]) })
      expect(await goOn(saved)).toMatchObject({ revision: 3 })
      const after = await two.loadSnapshot('saved')
      expect([...after.loopIterations]).toEqual([['l', 7]])
      expect(outputsOf(after)).toEqual([...also, 'a'].map((id) => [id, 'out']))
      await two.deleteSnapshot('saved')
    }

    for (const [kind, status] of [
      ['cancel', 'cancelled'],
      ['pause', 'paused'],
    ] as const) {
      const signalled = await started(kind)
      await two.storeSignal(kind, kind, { reason: 'r' })
      expect(await goOn(signalled)).toEqual({ revision: 2, status, next: null })
      await two.deleteSnapshot(kind)
    }

    const paused = await started('paused')
    await two.storeSignal('paused', 'pause')
    expect(await two.checkAndPause('paused')).toBe(true)
    expect(await goOn(paused)).toEqual({ revision: 3, status: 'paused', next: null })
    await two.deleteSnapshot('paused')

    const sent = await started('sent')
    await two.sendEvent('sent', 'go', bytes('event'))
    await goOn(sent, PARKED)
    expect(text((await tasksOf(two, 'sent')).get('b')?.input)).toBe('event')
  }),
]
