import { type InstanceRecord, isEnded } from '../../src/adapter.ts'
import { BackendError, type SignalKind } from '../../src/index.ts'
import { replace, type WrongBackend, withEntries, wrong } from './flawed.ts'

/** A hidden code: the call resolves instead. */
function forgiving<T>(call: Promise<T>, code: 'CANNOT_CANCEL' | 'CANNOT_PAUSE', instead: T) {
  return call.catch((error: unknown): T => {
    if (BackendError.is(error, code)) return instead
    throw error
  })
}

function isUnpaused(after: InstanceRecord, before: InstanceRecord | null): boolean {
  return before?.snapshot.state.status === 'paused' && after.snapshot.state.status === 'in-progress'
}

/** Rules G1 to G4. */
export const wrongSignals: readonly WrongBackend[] = [
  wrong('G1', 'a pending signal does not hide tasks from a find', {
    scanned: (record) => ({ ...record, cancel: null, pause: null }),
  }),
  wrong('G1', 'a pause beats a cancel', {
    methods: (right) => ({
      checkControlSignals: async (instanceId, details) => {
        const paused = await right.getSignal(instanceId, 'pause')
        if (paused === null) return right.checkControlSignals(instanceId, details)
        await right.clearSignal(instanceId, 'cancel')
        return (await right.checkAndPause(instanceId)) ? 'paused' : null
      },
    }),
  }),
  wrong('G1', 'a pause is applied although a cancel is pending', {
    methods: (right) => ({
      checkAndPause: async (instanceId) => {
        const cancel = await right.getSignal(instanceId, 'cancel')
        if (cancel === null) return right.checkAndPause(instanceId)
        await right.clearSignal(instanceId, 'cancel')
        const paused = await right.checkAndPause(instanceId)
        await right.storeSignal(instanceId, 'cancel', cancel)
        return paused
      },
    }),
  }),
  wrong('G2', 'a cancel is not applied to a paused instance', {
    methods: (right, store) => ({
      checkAndCancel: async (instanceId, details) => {
        const found = await store.readInstance(instanceId)
        const paused = found?.record.snapshot.state.status === 'paused'
        return !paused && right.checkAndCancel(instanceId, details)
      },
    }),
  }),
  wrong('G2', 'a signal that was applied stays pending', {
    methods: (right) => {
      const kept = new Map<string, Awaited<ReturnType<typeof right.getSignal>>>()
      return {
        checkAndPause: async (instanceId) => {
          kept.set(instanceId, await right.getSignal(instanceId, 'pause'))
          return right.checkAndPause(instanceId)
        },
        getSignal: async (instanceId, kind) =>
          (kind === 'pause' ? kept.get(instanceId) : null) ?? right.getSignal(instanceId, kind),
      }
    },
  }),
  wrong('G2', 'racing checks all say that they cancelled', {
    methods: (right) => ({
      checkAndCancel: async (instanceId, details) => {
        const pending = await right.getSignal(instanceId, 'cancel')
        await right.checkAndCancel(instanceId, details)
        return pending !== null
      },
    }),
  }),
  wrong('G2', 'who cancelled is not kept', {
    methods: (right) => ({
      storeSignal: (instanceId, kind, { requestedBy: _, ...request } = {}) =>
        right.storeSignal(instanceId, kind, request),
    }),
  }),
  wrong('G2', 'the task that a cancel interrupted is not kept', {
    methods: (right) => ({
      checkAndCancel: (instanceId) => right.checkAndCancel(instanceId),
      checkControlSignals: (instanceId) => right.checkControlSignals(instanceId),
    }),
  }),
  wrong('G2', 'the time of a signal is the time of its check', {
    methods: (right, store) => ({
      getSignal: async (instanceId, kind) => {
        const signal = await right.getSignal(instanceId, kind)
        return signal === null ? null : { ...signal, requestedAt: (await store.now()) + 1 }
      },
    }),
  }),
  wrong('G2', 'the first of two signals stays', {
    methods: (right) => ({
      storeSignal: async (instanceId, kind, request) => {
        if ((await right.getSignal(instanceId, kind)) === null)
          await right.storeSignal(instanceId, kind, request)
      },
    }),
  }),
  wrong('G1', 'a second signal replaces one of the other kind', {
    methods: (right) => ({
      storeSignal: async (instanceId, kind, request) => {
        const other: SignalKind = kind === 'cancel' ? 'pause' : 'cancel'
        await right.storeSignal(instanceId, kind, request)
        await right.clearSignal(instanceId, other)
      },
    }),
  }),
  wrong('G2', 'a cancel of an ended instance is taken', {
    methods: (right) => ({
      storeSignal: (...args) => forgiving(right.storeSignal(...args), 'CANNOT_CANCEL', undefined),
    }),
  }),
  wrong('G2', 'a pause of an ended instance is taken', {
    methods: (right) => ({
      storeSignal: (...args) => forgiving(right.storeSignal(...args), 'CANNOT_PAUSE', undefined),
    }),
  }),
  wrong('G2', 'a cancel of a cancelled instance is refused', {
    methods: (right) => ({
      storeSignal: async (instanceId, kind, request) => {
        const { state } = await right.loadSnapshot(instanceId)
        if (kind === 'cancel' && isEnded(state.status))
          throw new BackendError('CANNOT_CANCEL', 'the instance has ended')
        await right.storeSignal(instanceId, kind, request)
      },
    }),
  }),
  wrong('G2', 'a check of an unknown instance is an error', {
    methods: (right) => ({
      checkControlSignals: async (instanceId, details) => {
        await right.loadSnapshot(instanceId)
        return right.checkControlSignals(instanceId, details)
      },
    }),
  }),
  wrong('G2', 'an instance that ends keeps its signals', {
    written: (after, before) =>
      isEnded(after.snapshot.state.status) && before !== null
        ? { ...after, cancel: before.cancel, pause: before.pause }
        : after,
  }),
  wrong('E2', 'an instance that ends keeps its queued events', {
    written: (after, before) =>
      isEnded(after.snapshot.state.status) && before !== null
        ? { ...after, events: before.events }
        : after,
  }),
  wrong('G2', 'clearing a signal clears the other one too', {
    methods: (right) => ({
      clearSignal: async (instanceId) => {
        await right.clearSignal(instanceId, 'cancel')
        await right.clearSignal(instanceId, 'pause')
      },
    }),
  }),
  wrong('G3', 'unpausing begins the workflow anew', {
    methods: (right) => ({
      unpause: async (instanceId) => {
        const { state, ...snapshot } = await right.unpause(instanceId)
        return right.saveSnapshot({
          ...snapshot,
          state: { ...state, position: { kind: 'not-started' } } as never,
        })
      },
    }),
  }),
  wrong('G3', 'unpausing drops the results', {
    methods: (right) => ({
      unpause: async (instanceId) => {
        const { state, ...snapshot } = await right.unpause(instanceId)
        return right.saveSnapshot({ ...snapshot, state: { ...state, completedTasks: new Map() } })
      },
    }),
  }),
  wrong('G3', 'unpausing begins a delay anew', {
    methods: (right, store) => ({
      unpause: async (instanceId) => {
        const unpaused = await right.unpause(instanceId)
        const { state } = unpaused
        if (state.status !== 'in-progress' || state.position.kind !== 'at-delay') return unpaused
        const at = await store.now()
        const { enteredAt, wakeAt } = state.position
        const position = { ...state.position, enteredAt: at, wakeAt: at + wakeAt - enteredAt }
        return right.saveSnapshot({ ...unpaused, state: { ...state, position } })
      },
    }),
  }),
  wrong('G3', 'unpausing what is not paused is no error', {
    methods: (right) => ({
      unpause: (instanceId) =>
        right.unpause(instanceId).catch((error: unknown) => {
          if (BackendError.is(error, 'CANNOT_PAUSE')) return right.loadSnapshot(instanceId)
          throw error
        }),
    }),
  }),
  wrong('G4', 'a commit does not apply a pending signal', {
    methods: (right, store) => ({
      commitTask: async (params) => {
        const { instanceId } = params.claim
        const found = await store.readInstance(instanceId)
        const { cancel = null, pause = null } = found?.record ?? {}
        if (cancel === null && pause === null) return right.commitTask(params)
        await replace(store, instanceId, (record) => ({ ...record, cancel: null, pause: null }))
        const receipt = await right.commitTask(params)
        await replace(store, instanceId, (record) => ({ ...record, cancel, pause }))
        return receipt
      },
    }),
  }),
  wrong('G4', 'a pending signal is applied before the outcome, which is refused', {
    methods: (right) => ({
      commitTask: async (params) => {
        await right.checkControlSignals(params.claim.instanceId)
        return right.commitTask(params)
      },
    }),
  }),
  wrong('G4', 'a commit gives a task of the instance that it paused', {
    methods: (right, store) => ({
      commitTask: async (params) => {
        const { instanceId } = params.claim
        const found = await store.readInstance(instanceId)
        const pause = found?.record.pause ?? null
        if (pause === null) return right.commitTask(params)
        await replace(store, instanceId, (record) => ({ ...record, pause: null }))
        const receipt = await right.commitTask(params)
        await right.storeSignal(instanceId, 'pause', pause)
        await right.checkAndPause(instanceId)
        return { ...receipt, status: 'paused' }
      },
    }),
  }),
  wrong('G4', 'a signal on an idle instance waits for somebody to check it', {
    scanned: (record) =>
      record.cancel === null && record.pause === null
        ? record
        : { ...record, cancel: null, pause: null, entries: [] },
  }),
  wrong('G4', 'a signal is applied under the hands of the worker', {
    scanned: (record) =>
      record.cancel === null && record.pause === null
        ? record
        : withEntries(record, (entry) => ({ ...entry, claim: null })),
    methods: (right, store) => ({
      findAvailableTasks: async (params) => {
        for (const { instanceId } of await store.listInstances(null, 1000))
          await right.checkControlSignals(instanceId)
        return right.findAvailableTasks(params)
      },
    }),
  }),
  wrong('G3', 'unpausing gives up the claims', {
    written: (after, before) =>
      isUnpaused(after, before)
        ? withEntries(after, (entry) => ({ ...entry, claim: null }))
        : after,
  }),
  wrong('G3', 'unpausing counts the deliveries anew', {
    written: (after, before) =>
      isUnpaused(after, before)
        ? withEntries(after, (entry) => ({ ...entry, deliveries: 0 }))
        : after,
  }),
]
