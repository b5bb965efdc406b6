import { claimLost, isLive } from '../../src/adapter.ts'
import type { PersistentBackend, TaskClaimRef } from '../../src/index.ts'
import { BackendError } from '../../src/index.ts'
import {
  asHolder,
  claimAnyway,
  claimOn,
  SKEW_MS,
  type WrongBackend,
  withEntries,
  wrong,
} from './flawed.ts'

/** Every use of a claim, made with what `change` makes of it. */
function usesOf(
  right: PersistentBackend,
  change: (claim: TaskClaimRef) => TaskClaimRef | Promise<TaskClaimRef>,
): Partial<PersistentBackend> {
  return {
    releaseTaskClaim: async (claim) => right.releaseTaskClaim(await change(claim)),
    renewTaskClaim: async (claim, ttlMs) => right.renewTaskClaim(await change(claim), ttlMs),
    extendTaskClaim: async (claim, ms) => right.extendTaskClaim(await change(claim), ms),
    commitTask: async (params) =>
      right.commitTask({ ...params, claim: await change(params.claim) }),
  }
}

function withoutToken({ instanceId, taskId, workerId }: TaskClaimRef): TaskClaimRef {
  return { instanceId, taskId, workerId }
}

/** Rules C1 to C7. */
export const wrongClaims: readonly WrongBackend[] = [
  wrong('C1', 'a write that does not compare before it sets', {
    store: (right) => ({
      writeInstance: async (record) => {
        const { instanceId } = record.snapshot
        for (;;) {
          const found = await right.readInstance(instanceId)
          if (await right.writeInstance(record, found?.version ?? null)) return true
        }
      },
    }),
  }),
  wrong('C1', 'a claim is won again by the worker that holds it', {
    methods: (right, store) => ({
      claimTask: async (params) => {
        const won = await right.claimTask(params)
        const holder = await asHolder(store, params)
        const again = won === null && holder.workerId === params.workerId
        return again ? right.renewTaskClaim(holder, params.ttlMs ?? 1) : won
      },
    }),
  }),
  wrong('C1', 'a new worker takes over a live claim', {
    methods: (right, store) => ({
      claimTask: async (params) => {
        const won = await right.claimTask(params)
        const found = await store.readInstance(params.instanceId)
        const held = claimOn(found?.record ?? null, params.taskId)
        return won === null && held !== null ? claimAnyway(store, params) : won
      },
    }),
  }),
  wrong('C2', "expiry is reckoned from the worker's clock", {
    written: (after, before) =>
      withEntries(after, (entry) => {
        const { claim } = entry
        const old = claimOn(before, entry.taskId)
        return claim?.expiresAt == null || claim.expiresAt === old?.expiresAt
          ? entry
          : { ...entry, claim: { ...claim, expiresAt: claim.expiresAt - SKEW_MS } }
      }),
  }),
  wrong('C2', "expiry is judged by the worker's clock", {
    methods: (right, store) => ({
      claimTask: async (params) => {
        const found = await store.readInstance(params.instanceId)
        const held = claimOn(found?.record ?? null, params.taskId)
        return isLive(held, Date.now()) ? null : right.claimTask(params)
      },
    }),
  }),
  wrong(
    'C2',
    'a claim is still live at the instant of its expiry',
    {
      store: (right) => ({
        readInstance: async (instanceId) => {
          const found = await right.readInstance(instanceId)
          if (found === null) return null
          const at = await right.now()
          const late = (expiresAt: number): number => (expiresAt === at ? at + 1 : expiresAt)
          const record = withEntries(found.record, (entry) =>
            entry.claim?.expiresAt == null
              ? entry
              : { ...entry, claim: { ...entry.claim, expiresAt: late(entry.claim.expiresAt) } },
          )
          return { ...found, record }
        },
      }),
    },
    { stopped: true },
  ),
  wrong('C2', 'expiry is kept in whole seconds', {
    read: (record) =>
      withEntries(record, (entry) =>
        entry.claim?.expiresAt == null
          ? entry
          : {
              ...entry,
              claim: {
                ...entry.claim,
                expiresAt: Math.ceil(entry.claim.expiresAt / 1000) * 1000,
              },
            },
      ),
  }),
  wrong('C2', 'a claim without a TTL expires at once, null being less than any time', {
    written: (after) =>
      withEntries(after, (entry) =>
        entry.claim?.expiresAt === null
          ? { ...entry, claim: { ...entry.claim, expiresAt: 0 } }
          : entry,
      ),
  }),
  wrong('C2', 'a claim without a TTL expires after a default one', {
    methods: (right) => ({
      claimTask: (params) => right.claimTask({ ...params, ttlMs: params.ttlMs ?? 30_000 }),
    }),
  }),
  wrong('C3', 'tokens are counted in the instance, and deleted with it', {
    store: (right) => {
      let counter = 0
      return {
        nextToken: async () => {
          counter += 1
          return counter
        },
        removeInstance: (instanceId, version) => {
          counter = 0
          return right.removeInstance(instanceId, version)
        },
      }
    },
  }),
  wrong('C3', 'the token is the time of the claim', {
    store: (right) => ({ nextToken: () => right.now() }),
  }),
  wrong('C3', 'the token is the revision of the instance', {
    written: (after, before) =>
      withEntries(after, (entry) =>
        entry.claim === null || entry.claim.token === claimOn(before, entry.taskId)?.token
          ? entry
          : { ...entry, claim: { ...entry.claim, token: after.snapshot.revision } },
      ),
    methods: (right, store) => ({
      claimTask: async (params) => {
        const won = await right.claimTask(params)
        if (won === null) return null
        const { token = 0 } = await asHolder(store, won)
        return { ...won, token }
      },
    }),
  }),
  wrong('C4', 'a claim is known by its worker, whatever its token', {
    methods: (right) => usesOf(right, withoutToken),
  }),
  wrong('C4', 'a claim is known by its token, whoever gives it', {
    methods: (right, store) =>
      usesOf(right, async (claim) => {
        const holder = await asHolder(store, claim)
        return holder.token === claim.token ? holder : claim
      }),
  }),
  wrong('C4', "a zombie's renewal extends its successor's claim", {
    methods: (right, store) => ({
      renewTaskClaim: async (claim, ttlMs) =>
        right.renewTaskClaim(await asHolder(store, claim), ttlMs),
    }),
  }),
  wrong('C4', "a zombie's extension extends its successor's claim", {
    methods: (right, store) => ({
      extendTaskClaim: async (claim, ms) => right.extendTaskClaim(await asHolder(store, claim), ms),
    }),
  }),
  wrong('C4', "a stale holder's release frees its successor's claim", {
    methods: (right, store) => ({
      releaseTaskClaim: async (claim) => right.releaseTaskClaim(await asHolder(store, claim)),
    }),
  }),
  wrong('C4', "a zombie's commit goes through as its successor's", {
    methods: (right, store) => ({
      commitTask: async (params) =>
        right.commitTask({ ...params, claim: await asHolder(store, params.claim) }),
    }),
  }),
  wrong('C4', 'a claim that expired is lost although nobody took it', {
    methods: (right, store) => ({
      ...usesOf(right, async (claim) => {
        const found = await store.readInstance(claim.instanceId)
        const held = claimOn(found?.record ?? null, claim.taskId)
        if (held !== null && !isLive(held, await store.now()))
          throw claimLost(claim.instanceId, claim.taskId)
        return claim
      }),
    }),
  }),
  wrong('C4', 'a claim outlives a move to another task', {
    written: (after, before) => {
      const outlive = (before?.entries ?? []).filter(
        ({ taskId, claim }) =>
          claim !== null &&
          after.commits.get(taskId)?.token !== claim.token &&
          after.entries.every((entry) => entry.taskId !== taskId),
      )
      return after.snapshot.state.status === 'in-progress'
        ? { ...after, entries: [...after.entries, ...outlive] }
        : after
    },
  }),
  wrong('C4', 'releasing a task that nobody holds is an error', {
    methods: (right, store) => ({
      releaseTaskClaim: async (claim) => {
        const found = await store.readInstance(claim.instanceId)
        if (claimOn(found?.record ?? null, claim.taskId) === null)
          throw claimLost(claim.instanceId, claim.taskId)
        return right.releaseTaskClaim(claim)
      },
    }),
  }),
  wrong('C4', 'a release does nothing, the claim being left to expire', {
    methods: () => ({ releaseTaskClaim: async () => {} }),
  }),
  wrong('C5', 'an extension is counted from now', {
    methods: (right) => ({
      extendTaskClaim: (claim, ms) => right.renewTaskClaim(claim, ms),
    }),
  }),
  wrong('C5', 'an extension is counted from an expiry that has passed', {
    methods: (right, store) => ({
      extendTaskClaim: async (claim, ms) => {
        const found = await store.readInstance(claim.instanceId)
        const expiresAt = claimOn(found?.record ?? null, claim.taskId)?.expiresAt ?? null
        const passed = expiresAt === null ? 0 : Math.max(0, (await store.now()) - expiresAt)
        return right.extendTaskClaim(claim, Math.max(ms - passed, 1))
      },
    }),
  }),
  wrong('C5', 'a renewal is counted from the expiry', {
    methods: (right) => ({
      renewTaskClaim: (claim, ttlMs) => right.extendTaskClaim(claim, ttlMs),
    }),
  }),
  wrong('C5', 'a renewal gives a claim without an expiry one', {
    methods: (right, store) => ({
      renewTaskClaim: async (claim, ttlMs) => {
        const renewed = await right.renewTaskClaim(claim, ttlMs)
        return { ...renewed, expiresAt: renewed.expiresAt ?? (await store.now()) + ttlMs }
      },
    }),
  }),
  wrong('C5', 'a renewal never brings the expiry nearer', {
    methods: (right, store) => ({
      renewTaskClaim: async (claim, ttlMs) => {
        const found = await store.readInstance(claim.instanceId)
        const expiresAt = claimOn(found?.record ?? null, claim.taskId)?.expiresAt ?? 0
        const left = expiresAt - (await store.now())
        return right.renewTaskClaim(claim, Math.max(ttlMs, left, 1))
      },
    }),
  }),
  wrong('C6', 'a task of a paused instance can be claimed', {
    methods: (right, store) => ({
      claimTask: async (params) => {
        const found = await store.readInstance(params.instanceId)
        const runnable = found?.record.entries.find(({ taskId }) => taskId === params.taskId)
        return found?.record.snapshot.state.status === 'paused' && runnable?.claim === null
          ? claimAnyway(store, params)
          : right.claimTask(params)
      },
    }),
  }),
  wrong('C6', 'a task of an instance with a pending signal can be claimed', {
    methods: (right, store) => ({
      claimTask: async (params) => {
        const found = await store.readInstance(params.instanceId)
        const runnable = found?.record.entries.find(({ taskId }) => taskId === params.taskId)
        const pending = found?.record.cancel ?? found?.record.pause ?? null
        return pending !== null && runnable?.claim === null
          ? claimAnyway(store, params)
          : right.claimTask(params)
      },
    }),
  }),
  wrong('C6', 'a task that is not due can be claimed', {
    methods: (right, store) => ({
      claimTask: async (params) => {
        const found = await store.readInstance(params.instanceId)
        const runnable = found?.record.entries.find(({ taskId }) => taskId === params.taskId)
        const early = (runnable?.availableSince ?? 0) > (await store.now())
        return early ? claimAnyway(store, params) : right.claimTask(params)
      },
    }),
  }),
  wrong('C6', 'any task can be claimed, runnable or not', {
    methods: (right, store) => ({
      claimTask: async (params) => {
        const won = await right.claimTask(params)
        const found = await store.readInstance(params.instanceId)
        const runnable = found?.record.entries.some(({ taskId }) => taskId === params.taskId)
        return runnable === true ? won : claimAnyway(store, params)
      },
    }),
  }),
  wrong('C6', 'claiming on an unknown instance gives null', {
    methods: (right) => ({
      claimTask: (params) =>
        right.claimTask(params).catch((error: unknown) => {
          if (BackendError.is(error, 'NOT_FOUND')) return null
          throw error
        }),
    }),
  }),
  wrong('C7', 'one claim an instance', {
    methods: (right, store) => ({
      claimTask: async (params) => {
        const found = await store.readInstance(params.instanceId)
        const at = await store.now()
        const held = found?.record.entries.some(({ claim }) => isLive(claim, at))
        return held === true ? null : right.claimTask(params)
      },
    }),
  }),
]
