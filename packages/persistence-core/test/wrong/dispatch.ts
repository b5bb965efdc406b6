import { decodeInstance } from '../../src/adapter.ts'
import type { AvailableTask, ClaimedTask } from '../../src/index.ts'
import { claimAnyway, claimOn, type WrongBackend, withEntries, wrong } from './flawed.ts'

/** Rules D1 to D5. */
export const wrongDispatch: readonly WrongBackend[] = [
  wrong('D1', '`limit` of a find is ignored', {
    methods: (right) => ({
      findAvailableTasks: (params) => right.findAvailableTasks({ ...params, limit: 1000 }),
    }),
  }),
  wrong('D1', 'a find gives one task more than `limit`', {
    methods: (right) => ({
      findAvailableTasks: (params) =>
        right.findAvailableTasks({ ...params, limit: Math.min(1000, params.limit + 1) }),
    }),
  }),
  wrong('D1', 'a find gives tasks with a live claim', {
    scanned: (record) => withEntries(record, (entry) => ({ ...entry, claim: null })),
  }),
  wrong('C2', 'a find does not give a task whose claim has expired', {
    scanned: (record) =>
      withEntries(record, (entry) =>
        entry.claim === null ? entry : { ...entry, claim: { ...entry.claim, expiresAt: null } },
      ),
  }),
  wrong('D1', 'a find gives tasks that are not due', {
    scanned: (record, at) =>
      withEntries(record, (entry) => ({
        ...entry,
        availableSince: entry.timer ? entry.availableSince : Math.min(entry.availableSince, at),
      })),
  }),
  wrong('D1', 'a find gives tasks of paused instances', {
    scanned: (record) => {
      const { state } = record.snapshot
      return state.status === 'paused'
        ? {
            ...record,
            snapshot: { ...record.snapshot, state: { ...state, status: 'in-progress' } },
          }
        : record
    },
  }),
  wrong('D1', 'a find claims what it gives', {
    methods: (right) => ({
      findAvailableTasks: async (params) => {
        const claimed = await right.claimAvailableTasks({ ...params, ttlMs: 60_000 })
        return claimed.map(({ task }) => task)
      },
    }),
  }),
  wrong('D2', 'deliveries are not counted', {
    written: (after) => withEntries(after, (entry) => ({ ...entry, deliveries: 0 })),
  }),
  wrong('D2', 'urgent tasks come first for ever', {
    options: (options) => ({ ...options, agingIntervalMs: 1e12 }),
  }),
  wrong('D2', 'the aging interval is the default, whatever is asked for', {
    options: ({ agingIntervalMs: _, ...options }) => options,
  }),
  wrong('D2', 'priority does not count', {
    scanned: (record) => withEntries(record, (entry) => ({ ...entry, priority: 3 })),
  }),
  wrong('D2', 'the higher number is the more urgent', {
    options: (options) => ({ ...options, agingIntervalMs: options.agingIntervalMs ?? 300_000 }),
    scanned: (record) =>
      withEntries(record, (entry) => ({ ...entry, priority: 6 - entry.priority })),
  }),
  wrong('D2', 'of equally urgent tasks the newest comes first', {
    methods: (right) => ({
      findAvailableTasks: async ({ limit, ...params }) => {
        const all = await right.findAvailableTasks({ ...params, limit: 1000 })
        const newest = (a: AvailableTask, b: AvailableTask): number =>
          a.priority - b.priority || b.availableSince - a.availableSince
        return all.sort(newest).slice(0, limit)
      },
    }),
  }),
  wrong('D2', 'a claim resets the waiting time', {
    written: (after, before) =>
      withEntries(after, (entry) =>
        entry.claim === null || entry.claim.token === claimOn(before, entry.taskId)?.token
          ? entry
          : { ...entry, availableSince: entry.claim.claimedAt },
      ),
  }),
  wrong('D2', 'a release resets the waiting time', {
    store: (right) => ({
      writeInstance: async (record, version) => {
        const before = version === null ? null : decodeInstance(version as Uint8Array)
        const at = await right.now()
        const released = withEntries(record, (entry) =>
          entry.claim === null && claimOn(before, entry.taskId) !== null
            ? { ...entry, availableSince: Math.max(at, entry.availableSince) }
            : entry,
        )
        return right.writeInstance(released, version)
      },
    }),
  }),
  wrong('D2', 'a save resets the waiting time', {
    written: (after, before) =>
      before === null || after.snapshot.revision === before.snapshot.revision
        ? after
        : withEntries(after, (entry) => ({
            ...entry,
            availableSince: Math.max(entry.availableSince, after.snapshot.updatedAt),
          })),
  }),
  wrong('D2', 'unpausing keeps the waiting time', {
    written: (after, before) =>
      before?.snapshot.state.status === 'paused'
        ? withEntries(after, (entry) => ({
            ...entry,
            availableSince:
              before.entries.find(({ taskId }) => taskId === entry.taskId)?.availableSince ??
              entry.availableSince,
          }))
        : after,
  }),
  wrong('D3', 'one common tag is enough', {
    methods: (right) => ({
      findAvailableTasks: async ({ tags, limit, ...params }) => {
        const all = await right.findAvailableTasks({ ...params, limit: 1000 })
        return all
          .filter((task) => {
            const shared = task.tags.some((tag) => tags?.includes(tag))
            return tags === undefined || task.tags.length === 0 || shared
          })
          .slice(0, limit)
      },
    }),
  }),
  wrong('D3', 'a task must have all the tags of the worker', {
    methods: (right) => ({
      findAvailableTasks: async ({ tags, limit, ...params }) => {
        const all = await right.findAvailableTasks({ ...params, limit: 1000 })
        return all
          .filter((task) => tags === undefined || tags.every((tag) => task.tags.includes(tag)))
          .slice(0, limit)
      },
    }),
  }),
  wrong('D3', 'a worker with tags gets no untagged tasks', {
    methods: (right) => ({
      findAvailableTasks: async (params) => {
        const tasks = await right.findAvailableTasks(params)
        return params.tags === undefined || params.tags.length === 0
          ? tasks
          : tasks.filter(({ tags }) => tags.length > 0)
      },
    }),
  }),
  wrong('D3', 'no tags at all count as all of them', {
    methods: (right) => ({
      findAvailableTasks: ({ tags, ...params }) =>
        right.findAvailableTasks(tags?.length ? { ...params, tags } : params),
    }),
  }),
  wrong('D3', 'no definitions at all count as all of them', {
    methods: (right) => ({
      findAvailableTasks: ({ definitionHashes, ...params }) =>
        right.findAvailableTasks(
          definitionHashes?.length ? { ...params, definitionHashes } : params,
        ),
    }),
  }),
  wrong('D3', 'the filter is applied after the limit', {
    methods: (right) => ({
      findAvailableTasks: async ({ tags, definitionHashes, ...params }) => {
        const tasks = await right.findAvailableTasks(params)
        return tasks.filter(
          (task) =>
            (definitionHashes?.includes(task.definitionHash) ?? true) &&
            (tags === undefined || task.tags.every((tag) => tags.includes(tag))),
        )
      },
    }),
  }),
  wrong('D3', 'claims by the worker do not filter as its finds do', {
    methods: (right) => ({
      claimAvailableTasks: ({ tags: _, definitionHashes: __, ...params }) =>
        right.claimAvailableTasks(params),
    }),
  }),
  wrong('D4', 'a worker gets the task that it just failed before all others', {
    written: (after) => withEntries(after, (entry) => ({ ...entry, lastFailedWorker: null })),
  }),
  wrong('D4', 'a worker never gets a task back that it failed', {
    methods: (right, store) => ({
      findAvailableTasks: async (params) => {
        const tasks = await right.findAvailableTasks(params)
        const failed = await Promise.all(
          tasks.map(async ({ instanceId, taskId }) => {
            const found = await store.readInstance(instanceId)
            const retry = found?.record.snapshot.retries.get(taskId)
            return retry?.lastFailedWorker === params.workerId
          }),
        )
        return tasks.filter((_, index) => failed[index] === false)
      },
    }),
  }),
  wrong('D5', 'tasks are found first and claimed afterwards, unasked', {
    methods: (right, store) => ({
      claimAvailableTasks: async ({ ttlMs, ...params }) => {
        const claimed: ClaimedTask[] = []
        for (const task of await right.findAvailableTasks(params)) {
          const { instanceId, taskId } = task
          const { workerId } = params
          const claim = await claimAnyway(store, { instanceId, taskId, workerId, ttlMs })
          const { state, ...snapshot } = await right.loadSnapshot(instanceId)
          const { completedTasks: _, ...rest } = state
          claimed.push({
            task: { ...task, deliveries: task.deliveries + 1 },
            claim,
            head: { ...snapshot, state: rest } as ClaimedTask['head'],
          })
        }
        return claimed
      },
    }),
  }),
  wrong('D5', '`limit` of a claim is ignored', {
    methods: (right) => ({
      claimAvailableTasks: (params) => right.claimAvailableTasks({ ...params, limit: 1000 }),
    }),
  }),
  wrong('D5', 'tasks are claimed that are not given', {
    methods: (right) => ({
      claimAvailableTasks: async (params) => {
        const all = await right.claimAvailableTasks({ ...params, limit: 1000 })
        return all.slice(0, params.limit)
      },
    }),
  }),
  wrong('D5', 'tasks are given that are not claimed', {
    methods: (right) => ({
      claimAvailableTasks: async (params) => {
        const claimed = await right.claimAvailableTasks(params)
        for (const { claim } of claimed) await right.releaseTaskClaim(claim)
        return claimed
      },
    }),
  }),
  wrong('D8', 'only the best thousand tasks are looked through', {
    methods: (right) => ({
      findAvailableTasks: async ({ tags, definitionHashes, limit, ...params }) => {
        const best = await right.findAvailableTasks({ ...params, limit: 1000 })
        return best
          .filter(
            (task) =>
              (definitionHashes?.includes(task.definitionHash) ?? true) &&
              (tags === undefined || task.tags.every((tag) => tags.includes(tag))),
          )
          .slice(0, limit)
      },
    }),
  }),
  wrong('D10', 'commits in flight together fail together', {
    methods: (right) => {
      let batch: Promise<unknown>[] = []
      return {
        commitTask: async (params) => {
          const together = batch
          const committing = right.commitTask(params)
          together.push(committing)
          queueMicrotask(() => {
            batch = []
          })
          await Promise.resolve()
          await Promise.all(together)
          return committing
        },
      }
    },
  }),
  wrong('D10', 'commits in flight together are made from what there was before them', {
    store: (right) => ({
      writeInstance: async (record, version) => {
        if (record.commits.size === 0) return right.writeInstance(record, version)
        const found = await right.readInstance(record.snapshot.instanceId)
        await right.writeInstance(record, found?.version ?? null)
        return true
      },
    }),
  }),
]
