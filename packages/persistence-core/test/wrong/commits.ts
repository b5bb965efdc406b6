import type { InstanceRecord } from '../../src/adapter.ts'
import { BackendError } from '../../src/index.ts'
import { claimOn, type WrongBackend, withEntries, wrong } from './flawed.ts'

function isRepeat(record: InstanceRecord | undefined, taskId: string, token?: number): boolean {
  return record !== undefined && token !== undefined && record.commits.get(taskId)?.token === token
}

/** Rules D6 and D7. */
export const wrongCommits: readonly WrongBackend[] = [
  wrong('D6', 'the output is stored before the claim is checked', {
    methods: (right) => ({
      commitTask: async (params) => {
        const { claim, outcome } = params
        const { instanceId, taskId } = claim
        if (outcome.kind === 'completed')
          await right.saveTaskResult({ instanceId, taskId, output: outcome.output })
        return right.commitTask(params)
      },
    }),
  }),
  wrong('D6', 'a commit keeps its claim', {
    written: (after, before) =>
      withEntries(after, (entry) => {
        const held = claimOn(before, entry.taskId)
        const committed = after.commits.get(entry.taskId)?.token === held?.token
        return entry.claim === null && committed ? { ...entry, claim: held } : entry
      }),
  }),
  wrong('D6', 'a commit that is repeated is applied again', {
    methods: (right, store) => ({
      commitTask: async (params) => {
        const { claim, outcome } = params
        const { instanceId, taskId, token } = claim
        const found = await store.readInstance(instanceId)
        if (isRepeat(found?.record, taskId, token) && outcome.kind === 'completed')
          await right.saveTaskResult({ instanceId, taskId, output: outcome.output })
        return right.commitTask(params)
      },
    }),
  }),
  wrong('D6', 'a commit that is repeated is refused', {
    written: (after) => ({ ...after, commits: new Map() }),
  }),
  wrong('D6', 'a commit that is repeated is refused once the instance has ended', {
    methods: (right) => ({
      commitTask: async (params) => {
        const { state } = await right.loadSnapshot(params.claim.instanceId)
        if (state.status === 'completed')
          throw new BackendError('TERMINAL', 'the instance has ended')
        return right.commitTask(params)
      },
    }),
  }),
  wrong('D6', 'a commit that is repeated tells the present revision', {
    methods: (right) => ({
      commitTask: async (params) => {
        const receipt = await right.commitTask(params)
        const { revision, state } = await right.loadSnapshot(params.claim.instanceId)
        return { ...receipt, revision, status: state.status }
      },
    }),
  }),
  wrong('D6', 'a commit that is repeated does not tell what it brought', {
    methods: (right, store) => ({
      commitTask: async (params) => {
        const { instanceId, taskId, token } = params.claim
        const found = await store.readInstance(instanceId)
        const receipt = await right.commitTask(params)
        return isRepeat(found?.record, taskId, token) ? { ...receipt, next: null } : receipt
      },
    }),
  }),
  wrong('D6', 'a commit that is repeated claims once more', {
    methods: (right, store) => ({
      commitTask: async (params) => {
        const { claim, claimNext } = params
        const found = await store.readInstance(claim.instanceId)
        const receipt = await right.commitTask(params)
        if (!isRepeat(found?.record, claim.taskId, claim.token) || claimNext === undefined)
          return receipt
        const { workerId } = claim
        const [next] = await right.claimAvailableTasks({ ...claimNext, workerId, limit: 1 })
        return { ...receipt, next: next ?? receipt.next }
      },
    }),
  }),
  wrong('D6', '`claimNext` does not filter', {
    methods: (right) => ({
      commitTask: ({ claimNext, ...params }) =>
        right.commitTask(
          claimNext === undefined ? params : { ...params, claimNext: { ttlMs: claimNext.ttlMs } },
        ),
    }),
  }),
  wrong('D6', '`claimNext` takes the best task of all before the next of its instance', {
    methods: (right) => ({
      commitTask: async ({ claimNext, ...params }) => {
        const receipt = await right.commitTask(params)
        if (claimNext === undefined || receipt.status === 'paused') return receipt
        const { workerId } = params.claim
        const [next = null] = await right.claimAvailableTasks({ ...claimNext, workerId, limit: 1 })
        return { ...receipt, next }
      },
    }),
  }),
  wrong('D6', '`claimNext` claims in its own instance only', {
    methods: (right) => ({
      commitTask: async (params) => {
        const receipt = await right.commitTask(params)
        const { next } = receipt
        if (next === null || next.claim.instanceId === params.claim.instanceId) return receipt
        await right.releaseTaskClaim(next.claim)
        return { ...receipt, next: null }
      },
    }),
  }),
  wrong('D6', '`claimNext` claims for ever', {
    methods: (right) => ({
      commitTask: ({ claimNext, ...params }) =>
        right.commitTask(
          claimNext === undefined
            ? params
            : { ...params, claimNext: { ...claimNext, ttlMs: null } },
        ),
    }),
  }),
  wrong('D6', '`claimNext` claims although nobody asked for it', {
    methods: (right) => ({
      commitTask: (params) =>
        right.commitTask({ ...params, claimNext: params.claimNext ?? { ttlMs: 60_000 } }),
    }),
  }),
  wrong('D6', 'a commit on an instance that was paused puts it in progress', {
    methods: (right) => ({
      commitTask: async (params) => {
        const before = await right.loadSnapshot(params.claim.instanceId)
        const receipt = await right.commitTask(params)
        if (before.state.status !== 'paused' || receipt.status !== 'paused') return receipt
        const { revision, state } = await right.unpause(params.claim.instanceId)
        return { ...receipt, revision, status: state.status }
      },
    }),
  }),
  wrong('D6', 'a commit on an instance that was paused is refused', {
    methods: (right) => ({
      commitTask: async (params) => {
        const { state } = await right.loadSnapshot(params.claim.instanceId)
        if (state.status === 'paused') throw new BackendError('CLAIM_LOST', 'the claim is lost')
        return right.commitTask(params)
      },
    }),
  }),
  wrong('D6', 'a pause drops the claims that are live', {
    written: (after, before) =>
      after.snapshot.state.status === 'paused' && before?.snapshot.state.status === 'in-progress'
        ? withEntries(after, (entry) => ({ ...entry, claim: null }))
        : after,
  }),
  wrong('D6', 'the iteration of a loop is not kept', {
    written: (after) => ({
      ...after,
      snapshot: { ...after.snapshot, loopIterations: new Map() },
    }),
  }),
  wrong('D7', 'a retry is due at once', {
    methods: (right) => ({
      commitTask: ({ outcome, ...params }) =>
        right.commitTask({
          ...params,
          outcome: outcome.kind === 'retry' ? { ...outcome, delayMs: 0 } : outcome,
        }),
    }),
  }),
  wrong('D7', 'attempts are not counted', {
    written: (after) => withEntries(after, (entry) => ({ ...entry, attempt: 1 })),
  }),
  wrong('D7', 'a claim counts as an attempt', {
    read: (record) =>
      withEntries(record, (entry) => ({ ...entry, attempt: Math.max(1, entry.deliveries) })),
  }),
  wrong('D7', 'a retry resets the deliveries', {
    written: (after, before) =>
      withEntries(after, (entry) =>
        entry.claim === null && claimOn(before, entry.taskId) !== null && after.commits.size > 0
          ? { ...entry, deliveries: 0 }
          : entry,
      ),
  }),
  wrong('D7', 'a task runs once more than `maxAttempts`', {
    methods: (right) => ({
      commitTask: ({ outcome, ...params }) =>
        right.commitTask({
          ...params,
          outcome:
            outcome.kind === 'retry' && outcome.maxAttempts !== undefined
              ? { ...outcome, maxAttempts: outcome.maxAttempts + 1 }
              : outcome,
        }),
    }),
  }),
  wrong('D7', 'a task runs once less than `maxAttempts`', {
    methods: (right) => ({
      commitTask: ({ outcome, ...params }) =>
        right.commitTask({
          ...params,
          outcome:
            outcome.kind === 'retry' && outcome.maxAttempts !== undefined
              ? { ...outcome, maxAttempts: Math.max(1, outcome.maxAttempts - 1) }
              : outcome,
        }),
    }),
  }),
  wrong('D7', 'the last failure is not the error that the instance fails with', {
    written: (after) => {
      const { state } = after.snapshot
      return state.status === 'failed'
        ? {
            ...after,
            snapshot: { ...after.snapshot, state: { ...state, error: 'too many attempts' } },
          }
        : after
    },
  }),
  wrong('D7', 'a completed task keeps its retry state', {
    written: (after, before) => ({
      ...after,
      snapshot: {
        ...after.snapshot,
        retries: new Map([...(before?.snapshot.retries ?? []), ...after.snapshot.retries]),
      },
    }),
  }),
]
