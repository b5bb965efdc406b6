import { type WrongBackend, wrong } from './flawed.ts'

/** Rule D9, and of rule M2 what is about waits. */
export const wrongWaits: readonly WrongBackend[] = [
  wrong('D9', 'a wait looks once, at its beginning', {
    methods: (right) => ({
      waitForWakeup: async ({ timeoutMs, ...filter }, options) => {
        const there = await right.waitForWakeup({ ...filter, timeoutMs: 0 }, options)
        if (there !== null) return there
        await new Promise((resolve) => setTimeout(resolve, timeoutMs))
        return null
      },
    }),
  }),
  wrong('D9', 'a wait gives null at once', {
    methods: (right) => ({
      waitForWakeup: (params, options) => right.waitForWakeup({ ...params, timeoutMs: 0 }, options),
    }),
  }),
  wrong('D9', 'a wait does not see what is there already', {
    methods: (right) => ({
      waitForWakeup: async (params, options) => {
        const there = await right.findAvailableTasks({ ...params, workerId: 'w', limit: 1000 })
        for (const end = Date.now() + params.timeoutMs; Date.now() < end; ) {
          const now = await right.findAvailableTasks({ ...params, workerId: 'w', limit: 1000 })
          const [fresh] = now.filter(({ taskId }) => there.every((old) => old.taskId !== taskId))
          if (fresh !== undefined) return right.waitForWakeup({ timeoutMs: 0 }, options)
          await new Promise((resolve) => setTimeout(resolve, 10))
        }
        return null
      },
    }),
  }),
  wrong('D9', 'a wait never wakes for a task that becomes due', {
    methods: (right, store) => ({
      waitForWakeup: async (params, options) => {
        const dueAt = new Map<string, number>()
        const begun = await store.now()
        for (const { instanceId, record } of await store.listInstances(null, 1000))
          for (const { availableSince } of record.entries)
            if (availableSince > begun) dueAt.set(instanceId, availableSince)
        for (const end = Date.now() + params.timeoutMs; ; ) {
          const hint = await right.waitForWakeup({ ...params, timeoutMs: 0 }, options)
          if (hint !== null && !dueAt.has(hint.instanceId ?? '')) return hint
          if (Date.now() >= end) return null
          await new Promise((resolve) => setTimeout(resolve, 10))
        }
      },
    }),
  }),
  wrong('D9', 'a wait never wakes for a claim that expires', {
    methods: (right) => ({
      waitForWakeup: async (params, options) => {
        const view = await right.stats()
        if (view.claimed === 0) return right.waitForWakeup(params, options)
        await new Promise((resolve) => setTimeout(resolve, params.timeoutMs))
        return null
      },
    }),
  }),
  wrong('D9', 'a wait wakes for tasks with tags that the worker does not take', {
    methods: (right) => ({
      waitForWakeup: ({ tags: _, ...params }, options) => right.waitForWakeup(params, options),
    }),
  }),
  wrong('D9', 'a wait wakes for definitions that the worker does not take', {
    methods: (right) => ({
      waitForWakeup: ({ definitionHashes: _, ...params }, options) =>
        right.waitForWakeup(params, options),
    }),
  }),
  wrong('D9', 'a wait wakes for a task that somebody holds', {
    methods: (right, store) => ({
      waitForWakeup: async (params, options) => {
        const all = await store.listInstances(null, 1000)
        const held = all.find(({ record }) => record.entries.some(({ claim }) => claim !== null))
        return held === undefined
          ? right.waitForWakeup(params, options)
          : { instanceId: held.instanceId }
      },
    }),
  }),
  wrong('D9', 'an aborted wait goes on', {
    methods: (right) => ({
      waitForWakeup: (params) => right.waitForWakeup(params),
    }),
  }),
  wrong('M2', 'closing waits for the waits', {
    methods: (right) => {
      const waits = new Set<Promise<unknown>>()
      let closed = false
      return {
        waitForWakeup: async ({ timeoutMs, ...filter }, options) => {
          const wait = (async () => {
            for (const end = Date.now() + timeoutMs; ; ) {
              const hint = await right.waitForWakeup({ ...filter, timeoutMs: 0 }, options)
              if (hint !== null || Date.now() >= end || closed) return hint
              await new Promise((resolve) => setTimeout(resolve, 10))
            }
          })()
          waits.add(wait)
          return wait
        },
        close: async () => {
          await Promise.allSettled(waits)
          closed = true
          await right.close()
        },
      }
    },
  }),
]
