import type { InstanceStore } from '../../src/adapter.ts'
import type { ClaimedTask, PersistentBackend } from '../../src/index.ts'
import { replace, type WrongBackend, withEntries, wrong } from './flawed.ts'

type Hand = (task: ClaimedTask, store: InstanceStore) => Promise<ClaimedTask> | ClaimedTask

/** A backend whose search for tasks hands them out changed, while all else is right. */
function handing(breaks: string, name: string, hand: Hand): WrongBackend {
  return wrong(breaks, name, {
    methods: (right, store) => ({
      claimAvailableTasks: async (params, options) => {
        const claimed = await right.claimAvailableTasks(params, options)
        return Promise.all(claimed.map((task) => hand(task, store)))
      },
    }),
  })
}

/** A backend whose commits hand out what they bring changed. */
function bringing(
  breaks: string,
  name: string,
  hand: (next: ClaimedTask, isOwn: boolean, isRepeat: boolean) => ClaimedTask,
): WrongBackend {
  return wrong(breaks, name, {
    methods: (right, store) => ({
      commitTask: async (params, options) => {
        const { instanceId, taskId, token } = params.claim
        const found = await store.readInstance(instanceId)
        const isRepeat = found?.record.commits.get(taskId)?.token === token
        const receipt = await right.commitTask(params, options)
        const { next } = receipt
        if (next === null) return receipt
        return { ...receipt, next: hand(next, next.claim.instanceId === instanceId, isRepeat) }
      },
    }),
  })
}

const withInput = (task: ClaimedTask, input: Uint8Array): ClaimedTask => ({
  ...task,
  task: { ...task.task, input },
})

const NOTHING = new Uint8Array(0)

/** Counts a claim once more. */
async function countDelivery(
  store: InstanceStore,
  ref: Parameters<PersistentBackend['renewTaskClaim']>[0],
): Promise<void> {
  await replace(store, ref.instanceId, (record) =>
    withEntries(record, (entry) =>
      entry.taskId === ref.taskId ? { ...entry, deliveries: entry.deliveries + 1 } : entry,
    ),
  )
}

/** Rules D1, D2 and D6: what comes with a task, by one of the ways that it may come. */
export const wrongHandedOut: readonly WrongBackend[] = [
  handing(
    'D2',
    'a claim takes a named output that there is not for 0 bytes',
    async (one, store) => {
      const found = await store.readInstance(one.task.instanceId)
      const { entries, snapshot } = found?.record ?? { entries: [], snapshot: null }
      const named = entries.find(({ taskId }) => taskId === one.task.taskId)?.inputTaskId ?? null
      const isThere = named === null || snapshot?.state.completedTasks.has(named) === true
      return isThere ? one : withInput(one, NOTHING)
    },
  ),
  handing('D1', 'the head that comes with a task has its outputs', async (one, store) => {
    const found = await store.readInstance(one.task.instanceId)
    return { ...one, head: Object.assign({}, one.head, { state: found?.record.snapshot.state }) }
  }),
  handing('D1', 'the head that comes with a task is that of the revision before', (one) => ({
    ...one,
    head: { ...one.head, revision: one.head.revision - 1 },
  })),
  bringing('D6', 'the next task of the same instance has the initial input', (next, isOwn) =>
    isOwn ? withInput(next, next.head.initialInput ?? NOTHING) : next,
  ),
  bringing('D6', 'the next task of another instance comes without its input', (next, isOwn) =>
    isOwn ? next : withInput(next, NOTHING),
  ),
  bringing('D2', 'a next task that comes again comes without its branches', (next, _, isRepeat) =>
    isRepeat ? { ...next, task: { ...next.task, branches: new Map() } } : next,
  ),
  wrong('D2', 'a renewal counts as a delivery', {
    methods: (right, store) => ({
      renewTaskClaim: async (ref, ttlMs, options) => {
        const claim = await right.renewTaskClaim(ref, ttlMs, options)
        await countDelivery(store, ref)
        return claim
      },
    }),
  }),
  wrong('D6', 'a worker goes on with the task that it has just failed', {
    methods: (right) => ({
      commitTask: async (params, options) => {
        const receipt = await right.commitTask(params, options)
        const { next } = receipt
        const { claim, outcome, claimNext } = params
        if (outcome.kind !== 'retry' || claimNext === undefined || next === null) return receipt
        const { instanceId, taskId, workerId } = claim
        const own = await right.claimTask({ instanceId, taskId, workerId, ttlMs: claimNext.ttlMs })
        if (own === null) return receipt
        await right.releaseTaskClaim(next.claim)
        return {
          ...receipt,
          next: { ...next, claim: own, task: { ...next.task, instanceId, taskId } },
        }
      },
    }),
  }),
]
