import { isEnded } from '../../src/adapter.ts'
import type { PersistentBackend } from '../../src/index.ts'
import { BackendError } from '../../src/index.ts'
import { KeyValueStore } from '../key-value-backend.ts'
import { open, StoreClock, type WrongBackend, wrong } from './flawed.ts'

/** A backend that keeps all namespaces in one map, its keys made by `key`. */
function leaking(name: string, key: (namespace: string) => string): WrongBackend {
  const stores = new Map<string, KeyValueStore>()
  return {
    name,
    breaks: 'M3',
    connect: async (namespace, options, clock = new StoreClock()) => {
      const keyValues = stores.get(key(namespace)) ?? new KeyValueStore()
      stores.set(key(namespace), keyValues)
      return open(keyValues, clock, {}, options)
    },
  }
}

/** Rule M1. */
export const wrongMaintenance: readonly WrongBackend[] = [
  wrong('M1', 'prune deletes what ended at the given time', {
    methods: (right) => ({
      prune: ({ endedBefore, ...params }) =>
        right.prune({ ...params, endedBefore: endedBefore + 1 }),
    }),
  }),
  wrong('M1', 'prune deletes whatever has not changed for long', {
    methods: (right) => ({
      prune: async (params) => {
        const { deleted, more } = await right.prune(params)
        let open = 0
        for await (const { instanceId, status, updatedAt } of right.listSnapshots()) {
          if (isEnded(status) || updatedAt >= params.endedBefore) continue
          await right.deleteSnapshot(instanceId)
          open += 1
        }
        return { deleted: deleted + open, more }
      },
    }),
  }),
  wrong('M1', 'prune ignores its limit', {
    methods: (right) => ({
      prune: ({ limit: _, ...params }) => right.prune(params),
    }),
  }),
  wrong('M1', 'prune ignores the statuses', {
    methods: (right) => ({
      prune: ({ statuses: _, ...params }) => right.prune(params),
    }),
  }),
  wrong('M1', 'prune takes no statuses for all of them', {
    methods: (right) => ({
      prune: ({ statuses, ...params }) =>
        right.prune(statuses?.length ? { ...params, statuses } : params),
    }),
  }),
  wrong('M1', 'a dry run of prune deletes', {
    methods: (right) => ({
      prune: ({ dryRun: _, ...params }) => right.prune(params),
    }),
  }),
  wrong('M1', 'prune never says that there is more', {
    methods: (right) => ({
      prune: async (params) => ({ ...(await right.prune(params)), more: false }),
    }),
  }),
  wrong('M1', 'prune says that there is more whenever it met its limit', {
    methods: (right) => ({
      prune: async (params) => {
        const { deleted } = await right.prune(params)
        return { deleted, more: deleted === params.limit }
      },
    }),
  }),
  wrong('M1', 'prune goes on after an abort', {
    methods: (right) => ({
      prune: async (params, options = {}) => {
        const { signal } = options
        if (signal === undefined || signal.aborted) return right.prune(params, options)
        const pruned = right.prune(params)
        const aborted = new Promise<never>((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        })
        return Promise.race([aborted, pruned])
      },
    }),
  }),
]

/** Rules M2 and M3. */
export const wrongLifecycles: readonly WrongBackend[] = [
  wrong('M2', 'closing a second time is an error', {
    methods: (right) => {
      let closed = false
      return {
        close: async () => {
          if (closed) throw new BackendError('CLOSED', 'the backend is closed')
          closed = true
          await right.close()
        },
      }
    },
  }),
  wrong('M2', 'calls still work after closing', {
    methods: () => ({ close: async () => {} }),
  }),
  wrong('M2', 'a read still works after closing', {
    methods: (right, store) => ({
      loadSnapshot: async (instanceId, options) => {
        const found = await store.readInstance(instanceId)
        return found?.record.snapshot ?? right.loadSnapshot(instanceId, options)
      },
    }),
  }),
  wrong('M2', 'closing ends waits with an error', {
    methods: (right) => {
      let closed = false
      return {
        waitForWakeup: async (params, options) => {
          const hint = await right.waitForWakeup(params, options)
          if (closed) throw new BackendError('CLOSED', 'the backend is closed')
          return hint
        },
        close: async () => {
          closed = true
          await right.close()
        },
      }
    },
  }),
  wrong('M2', 'a listing that is open when the backend closes ends as if it were complete', {
    methods: (right) => ({
      listSnapshots: async function* (filter) {
        let begun = false
        try {
          for await (const summary of right.listSnapshots(filter)) {
            begun = true
            yield summary
          }
        } catch (error) {
          if (!begun || !BackendError.is(error, 'CLOSED')) throw error
        }
      },
    }),
  }),
  wrong('M2', 'closing breaks off the calls that run', {
    methods: (right) => {
      const calls: PersistentBackend['saveSnapshot'] = (snapshot, options) =>
        right.saveSnapshot(snapshot, options)
      let closed = false
      return {
        saveSnapshot: async (snapshot, options) => {
          const saved = await calls(snapshot, options)
          if (closed) throw new BackendError('CLOSED', 'the backend is closed')
          return saved
        },
        close: async () => {
          closed = true
          await right.close()
        },
      }
    },
  }),
  leaking('all namespaces are one', () => ''),
  leaking('namespaces are told apart by their first characters', (name) => name.slice(0, 2)),
]
