import { type InstanceRecord, isEnded } from '../../src/adapter.ts'
import { BackendError, type WorkflowSnapshot } from '../../src/index.ts'
import { type WrongBackend, withResults, withSnapshot, wrong } from './flawed.ts'

/** A record that is written anew after a delete, with something of the old one. */
function leaving(
  name: string,
  leave: (old: InstanceRecord) => Partial<InstanceRecord>,
): WrongBackend {
  return wrong('S8', `a delete leaves the ${name}`, {
    store: (right) => {
      const deleted = new Map<string, InstanceRecord>()
      return {
        removeInstance: async (instanceId, version) => {
          const found = await right.readInstance(instanceId)
          if (found !== null) deleted.set(instanceId, found.record)
          return right.removeInstance(instanceId, version)
        },
        writeInstance: (record, version) => {
          const old = version === null ? deleted.get(record.snapshot.instanceId) : undefined
          return right.writeInstance(
            old === undefined ? record : { ...record, ...leave(old) },
            version,
          )
        },
      }
    },
  })
}

/** Rules S1, S5 to S8 and S10. */
export const wrongSnapshots: readonly WrongBackend[] = [
  wrong('S1', 'the time of creation is that of the last save', {
    written: (after) => withSnapshot(after, { createdAt: after.snapshot.updatedAt }),
  }),
  wrong('S1', "the time of creation is the caller's", {
    methods: (right) => {
      const created = new Map<string, number>()
      return {
        saveSnapshot: (snapshot, options) => {
          created.set(snapshot.instanceId, snapshot.createdAt)
          return right.saveSnapshot(snapshot, options)
        },
        loadSnapshot: async (instanceId, options) => ({
          ...(await right.loadSnapshot(instanceId, options)),
          createdAt: created.get(instanceId) ?? 0,
        }),
      }
    },
  }),
  wrong('S1', 'a save adds to the results instead of replacing them', {
    written: (after, before) =>
      before === null
        ? after
        : withResults(after, (results) => {
            const old = [...before.snapshot.state.completedTasks]
            return new Map([...old.filter(([id]) => !results.has(id)), ...results])
          }),
  }),
  wrong('S1', 'a save that ends the instance leaves the results as they are', {
    written: (after, before) =>
      before !== null && isEnded(after.snapshot.state.status)
        ? withResults(after, () => before.snapshot.state.completedTasks)
        : after,
  }),
  wrong('S1', 'the results come back ordered by task id', {
    read: (record) =>
      withResults(record, (results) => new Map([...results].sort(([a], [b]) => (a < b ? -1 : 1)))),
  }),
  wrong('S1', 'maps are kept as plain objects', {
    read: (record) =>
      withResults(record, (results) => {
        const plain: Record<string, never> = {}
        for (const [id, result] of results) plain[id] = result as never
        return new Map(Object.entries(plain))
      }),
  }),
  wrong('S1', 'an empty payload is kept as none', {
    read: (record) =>
      record.snapshot.initialInput?.length === 0
        ? withSnapshot(record, { initialInput: null })
        : record,
  }),
  wrong('S1', 'payloads are kept as text', {
    written: (after) =>
      withResults(
        after,
        (results) =>
          new Map(
            [...results].map(([id, result]) => {
              const text = new TextDecoder().decode(result.output)
              return [id, { ...result, output: new TextEncoder().encode(text) }]
            }),
          ),
      ),
  }),
  wrong('S1', "a payload is not copied: the store holds the caller's array", {
    methods: (right) => {
      const given = new Map<string, Uint8Array | null>()
      return {
        saveSnapshot: (snapshot, options) => {
          given.set(snapshot.instanceId, snapshot.initialInput)
          return right.saveSnapshot(snapshot, options)
        },
        loadSnapshot: async (instanceId, options) => {
          const initialInput = given.get(instanceId)
          const loaded = await right.loadSnapshot(instanceId, options)
          return initialInput == null
            ? loaded
            : { ...loaded, initialInput: new Uint8Array(initialInput) }
        },
      }
    },
  }),
  wrong('S1', 'a payload is not copied: every reader gets the same array', {
    methods: (right) => {
      const cache = new Map<string, WorkflowSnapshot>()
      return {
        loadSnapshot: async (instanceId, options) => {
          const loaded = await right.loadSnapshot(instanceId, options)
          const cached = cache.get(instanceId)
          if (cached?.revision === loaded.revision) return cached
          cache.set(instanceId, loaded)
          return loaded
        },
      }
    },
  }),
  wrong('S1', 'ids are told apart without regard to case', {
    store: (right) => {
      const known = new Map<string, string>()
      const actual = (id: string): string => known.get(id.toLowerCase()) ?? id
      return {
        readInstance: (instanceId) => right.readInstance(actual(instanceId)),
        removeInstance: (instanceId, version) => right.removeInstance(actual(instanceId), version),
        writeInstance: (record, version) => {
          const { instanceId } = record.snapshot
          const first = actual(instanceId)
          known.set(instanceId.toLowerCase(), first)
          return right.writeInstance(withSnapshot(record, { instanceId: first }), version)
        },
      }
    },
  }),
  wrong('S1', 'ids are normalised', {
    store: (right) => ({
      readInstance: (instanceId) => right.readInstance(instanceId.normalize()),
      removeInstance: (instanceId, version) =>
        right.removeInstance(instanceId.normalize(), version),
      writeInstance: (record, version) => {
        const instanceId = record.snapshot.instanceId.normalize()
        return right.writeInstance(withSnapshot(record, { instanceId }), version)
      },
    }),
  }),
  wrong('S6', 'an output that is stored already is not stored again, though it is another', {
    written: (after, before) =>
      withResults(after, (results) => {
        const old = before?.snapshot.state.completedTasks
        return new Map([...results].map(([id, result]) => [id, old?.get(id) ?? result]))
      }),
  }),
  wrong('S7', 'a save whose reply does not come is made once more', {
    methods: (right) => ({
      saveSnapshot: async (snapshot, options = {}) => {
        const { signal, ...conditions } = options
        try {
          return await right.saveSnapshot(snapshot, options)
        } catch (error) {
          if (signal?.aborted === true) await right.saveSnapshot(snapshot, conditions)
          throw error
        }
      },
    }),
  }),
  wrong('S5', 'a save is two writes: first the head, then the results', {
    store: (right) => ({
      writeInstance: async (record, version) => {
        const { instanceId } = record.snapshot
        if (version === null) return right.writeInstance(record, version)
        const found = await right.readInstance(instanceId)
        if (found === null || found.version !== version) return false
        const old = found.record.snapshot.state.completedTasks
        if (
          !(await right.writeInstance(
            withResults(record, () => old),
            version,
          ))
        )
          return false
        await new Promise((resolve) => setImmediate(resolve))
        const half = await right.readInstance(instanceId)
        return half !== null && right.writeInstance(record, half.version)
      },
    }),
  }),
  leaving('claims', ({ entries }) => ({ entries })),
  leaving('queued events', ({ events }) => ({ events })),
  leaving('ids of events', ({ eventIds }) => ({ eventIds })),
  leaving('signals', ({ cancel, pause }) => ({ cancel, pause })),
  leaving('records of commits', ({ commits }) => ({ commits })),
  wrong('S8', 'deleting what is not there is no error', {
    methods: (right) => ({
      deleteSnapshot: (instanceId) =>
        right.deleteSnapshot(instanceId).catch((error: unknown) => {
          if (!BackendError.is(error, 'NOT_FOUND')) throw error
        }),
    }),
  }),
  wrong('S10', 'the results of an ended instance are gone', {
    methods: (right) => ({
      loadTaskResult: async (instanceId, taskId) => {
        const { state } = await right.loadSnapshot(instanceId)
        return isEnded(state.status) ? null : right.loadTaskResult(instanceId, taskId)
      },
    }),
  }),
  wrong('S10', 'a stored result is not told as the last completed', {
    methods: (right, store) => ({
      saveTaskResult: async (params) => {
        const last = (record: InstanceRecord | undefined): string | null =>
          record !== undefined && 'lastCompletedTaskId' in record.snapshot.state
            ? record.snapshot.state.lastCompletedTaskId
            : null
        const before = await store.readInstance(params.instanceId)
        await right.saveTaskResult(params)
        const after = await store.readInstance(params.instanceId)
        if (after === null || !('lastCompletedTaskId' in after.record.snapshot.state)) return
        const state = {
          ...after.record.snapshot.state,
          lastCompletedTaskId: last(before?.record),
        }
        await store.writeInstance(withSnapshot(after.record, { state }), after.version)
      },
    }),
  }),
  wrong('S10', 'the claim of a result is ignored', {
    methods: (right) => ({
      saveTaskResult: ({ claim: _, ...params }) => right.saveTaskResult(params),
    }),
  }),
  wrong('S10', 'with a claim only the result of its own task is stored', {
    methods: (right) => ({
      saveTaskResult: (params, options) => {
        const taskId = params.claim?.taskId ?? params.taskId
        return right.saveTaskResult({ ...params, taskId }, options)
      },
    }),
  }),
  wrong('S10', 'a result that is stored gives up the claim', {
    methods: (right) => ({
      saveTaskResult: async (params, options) => {
        await right.saveTaskResult(params, options)
        if (params.claim !== undefined) await right.releaseTaskClaim(params.claim)
      },
    }),
  }),
  wrong('S10', 'a result that is stored keeps the retry state', {
    written: (after, before) =>
      after.commits.size === before?.commits.size
        ? withSnapshot(after, {
            retries: new Map([...before.snapshot.retries, ...after.snapshot.retries]),
          })
        : after,
  }),
]
