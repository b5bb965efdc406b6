import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import { type AnySnapshot, toHead } from '../snapshot.ts'
import type { ClaimedTask, ClaimTasksParams } from '../task-claim-store.ts'
import { bytes, type ContractTest, rule, text } from './context.ts'
import { at, atFork, atTask, claim, LONG_MS, toEnd, toTask, WORKER } from './fixtures.ts'
import { commit, run, tasksOf, toBranch } from './steps.ts'
import { plain } from './stored.ts'

const LARGE = 100_000

/** Makes an instance with one available task; what is its input, and how often it was claimed before. */
interface Way {
  readonly input: string
  readonly deliveries?: number
  make(backend: PersistentBackend, instanceId: string): Promise<unknown>
}

const atSignal = {
  kind: 'at-signal',
  signalId: 's',
  signalName: 'go',
  wakeAt: null,
  nextTaskId: 'b',
} as const

/** How a task comes to be available, and to its input. */
const ways: Readonly<Record<string, Way>> = {
  started: { input: 'in', make: (backend, id) => backend.saveSnapshot(atTask(id)) },
  'without input': {
    input: '',
    make: (backend, id) => backend.saveSnapshot(atTask(id, 'a', { initialInput: null })),
  },
  'after a task': {
    input: 'from a',
    make: async (backend, id) => {
      await backend.saveSnapshot(atTask(id))
      await run(backend, id, 'a', 'from a', toTask('b'))
    },
  },
  'after much output': {
    input: 'x'.repeat(LARGE),
    make: async (backend, id) => {
      await backend.saveSnapshot(atTask(id))
      await run(backend, id, 'a', 'x'.repeat(LARGE), toTask('b'))
    },
  },
  'after a result that was stored apart': {
    input: 'from a',
    make: async (backend, id) => {
      await backend.saveSnapshot(atTask(id))
      await run(backend, id, 'a', 'from a', toTask('b'))
      await backend.saveTaskResult({ instanceId: id, taskId: 'c', output: bytes('from c') })
    },
  },
  'in a loop': {
    input: 'round 1',
    make: async (backend, id) => {
      const round = { kind: 'in-loop', loopId: 'l', nextTaskId: 'a' } as const
      await backend.saveSnapshot(at(id, { ...round, iteration: 0 }))
      await run(backend, id, 'a', 'round 1', { position: { ...round, iteration: 1 } })
    },
  },
  'after a delay': {
    input: 'from a',
    make: async (backend, id) => {
      await backend.saveSnapshot(atTask(id))
      const position = { kind: 'at-delay', delayId: 'd', delayMs: 0, nextTaskId: 'b' } as const
      await run(backend, id, 'a', 'from a', { position })
    },
  },
  'after an event': {
    input: 'payload',
    make: async (backend, id) => {
      await backend.saveSnapshot(at(id, atSignal))
      await backend.sendEvent(id, 'go', bytes('payload'))
    },
  },
  'after a time-out': {
    input: '',
    make: (backend, id) => backend.saveSnapshot(at(id, { ...atSignal, wakeAt: 1 })),
  },
  'first in a branch': {
    input: 'from a',
    make: async (backend, id) => {
      await backend.saveSnapshot(atTask(id))
      const pendingTasks = [{ taskId: 'x' }, { taskId: 'y' }]
      const join = { taskId: 'join' }
      await run(backend, id, 'a', 'from a', {
        position: { kind: 'at-fork', forkId: 'f', pendingTasks, join },
      })
      await run(backend, id, 'x', 'from a sister', toBranch(null))
    },
  },
  'second in a branch': {
    input: 'from x',
    make: async (backend, id) => {
      await backend.saveSnapshot(atFork(id, ['x', 'y']))
      await run(backend, id, 'x', 'from x', toBranch('x2'))
      await run(backend, id, 'y', 'y'.repeat(LARGE), toBranch(null))
    },
  },
  'of another task’s output': {
    input: 'from a',
    make: async (backend, id) => {
      await backend.saveSnapshot(atTask(id))
      await run(backend, id, 'a', 'from a', toTask('b'))
      const pendingTasks = [{ taskId: 'x', inputTaskId: 'a' }]
      const join = { taskId: 'join' }
      await run(backend, id, 'b', 'from b', {
        position: { kind: 'at-fork', forkId: 'f', pendingTasks, join },
      })
    },
  },
  'of an output that there is not': {
    input: 'in',
    make: (backend, id) =>
      backend.saveSnapshot(atFork(id, [{ taskId: 'x', inputTaskId: 'nobody' }])),
  },
  'at a join': {
    input: '',
    make: async (backend, id) => {
      await backend.saveSnapshot(atFork(id, ['x', 'y', 'z']))
      await run(backend, id, 'y', 'y'.repeat(LARGE), toBranch(null))
      await run(backend, id, 'x', '', toBranch(null))
      await run(backend, id, 'z', 'from z', toBranch(null))
    },
  },
  'again after a failure': {
    input: 'in',
    deliveries: 1,
    make: async (backend, id) => {
      await backend.saveSnapshot(atTask(id))
      const failed = await claim(backend, id, 'a', { workerId: 'w2' })
      await backend.commitTask({
        claim: failed,
        outcome: { kind: 'retry', error: 'e', delayMs: 0 },
      })
    },
  },
}

async function claimTasks(
  backend: PersistentBackend,
  params: Partial<ClaimTasksParams>,
): Promise<ClaimedTask> {
  const wanted = { workerId: WORKER, ttlMs: LONG_MS, limit: 1, ...params }
  const [task] = await backend.claimAvailableTasks(wanted)
  return task ?? expect.fail(`nothing is claimed with ${JSON.stringify(wanted)}`)
}

/** The task, claimed in each way in turn; all but the first without a claim on it before. */
async function* claimed(
  backend: PersistentBackend,
  other: PersistentBackend,
): AsyncGenerator<readonly [string, ClaimedTask]> {
  yield ['alone', await claimTasks(backend, {})]
  yield ['by another', await claimTasks(other, {})]
  yield ['again', await claimTasks(other, {})]
  yield ['with a large limit', await claimTasks(backend, { limit: 100 })]
  yield ['by tags', await claimTasks(backend, { tags: ['x'] })]
  yield ['by definition', await claimTasks(other, { definitionHashes: ['definition-1'] })]
  for (const committer of [backend, other]) {
    await backend.saveSnapshot(atTask('before', 'a', { tags: ['before'] }))
    const held = await claim(backend, 'before')
    const goOn = () => commit(committer, held, 'out', toEnd('end'), { ttlMs: LONG_MS })
    const first = (await goOn()).next
    expect(plain((await goOn()).next), 'with a commit that is repeated').toEqual(plain(first))
    yield ['with a commit', first ?? expect.fail('no task came with the commit')]
    await backend.deleteSnapshot('before')
  }
}

/** Rule D2: what a task carries does not depend on how it comes. */
export const handedOutTests: readonly ContractTest[] = Object.entries(ways).map(
  ([name, { input, deliveries = 0, make }]) =>
    rule('D2', `a task ${name} is the same whichever way it is claimed`, async (t) => {
      const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
      await make(backend, 'i')
      let first: ClaimedTask | null = null
      let count = deliveries
      for await (const [way, { task, claim: held, head }] of claimed(backend, other)) {
        count += 1
        first ??= { task, claim: held, head }
        expect(text(task.input), way).toBe(input)
        expect(plain(task), way).toEqual(plain({ ...first.task, deliveries: count }))
        const stored: AnySnapshot = toHead(await other.loadSnapshot('i'))
        expect(plain(head), way).toEqual(plain(stored))
        await backend.releaseTaskClaim(held)
      }
      const found = (await tasksOf(other, 'i')).get(first?.task.taskId ?? '')
      expect(plain(found), 'found').toEqual(plain({ ...first?.task, deliveries: count }))
    }),
)
