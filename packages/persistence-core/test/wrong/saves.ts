import { BackendError } from '../../src/index.ts'
import { claimOn, type WrongBackend, withResults, withSnapshot, wrong } from './flawed.ts'

/** Rules S2 to S4. */
export const wrongSaves: readonly WrongBackend[] = [
  wrong('S2', '`expectedRevision` is ignored', {
    methods: (right) => ({
      saveSnapshot: (snapshot, { expectedRevision: _, ...options } = {}) =>
        right.saveSnapshot(snapshot, options),
    }),
  }),
  wrong('S2', 'an `expectedRevision` of 0 counts as not given', {
    methods: (right) => ({
      saveSnapshot: (snapshot, { expectedRevision, ...options } = {}) =>
        right.saveSnapshot(snapshot, expectedRevision ? { expectedRevision, ...options } : options),
    }),
  }),
  wrong('S2', 'a save with an `expectedRevision` creates an instance that is not there', {
    methods: (right, store) => ({
      saveSnapshot: async (snapshot, { expectedRevision, ...options } = {}) => {
        const found = await store.readInstance(snapshot.instanceId)
        return right.saveSnapshot(
          snapshot,
          found === null || expectedRevision === undefined
            ? options
            : { expectedRevision, ...options },
        )
      },
    }),
  }),
  wrong('S2', 'the revision is read first and compared before the write, not with it', {
    methods: (right, store) => ({
      saveSnapshot: async (snapshot, { expectedRevision, ...options } = {}) => {
        const found = await store.readInstance(snapshot.instanceId)
        if (expectedRevision === undefined) return right.saveSnapshot(snapshot, options)
        if ((found?.record.snapshot.revision ?? 0) !== expectedRevision)
          return right.saveSnapshot(snapshot, { expectedRevision, ...options })
        await Promise.resolve()
        return right.saveSnapshot(snapshot, options)
      },
    }),
  }),
  wrong('S2', 'a claim counts for the revision', {
    written: (after, before) => {
      const { revision } = after.snapshot
      return before?.snapshot.revision === revision
        ? withSnapshot(after, {
            revision: after.entries.some(
              ({ taskId, claim }) => claim?.token !== claimOn(before, taskId)?.token,
            )
              ? revision + 1
              : revision,
          })
        : after
    },
  }),
  wrong('S2', 'a signal counts for the revision', {
    written: (after, before) => {
      const { revision } = after.snapshot
      const signalled = after.cancel !== null || after.pause !== null
      return before?.snapshot.revision === revision && signalled
        ? withSnapshot(after, { revision: revision + 1 })
        : after
    },
  }),
  wrong('S2', 'a queued event counts for the revision', {
    written: (after, before) => {
      const { revision } = after.snapshot
      return before?.snapshot.revision === revision && after.events.length > before.events.length
        ? withSnapshot(after, { revision: revision + 1 })
        : after
    },
  }),
  wrong('S2', 'a save gives back what it was given', {
    methods: (right) => ({
      saveSnapshot: async (snapshot, options) => {
        await right.saveSnapshot(snapshot, options)
        return snapshot
      },
    }),
  }),
  wrong('S3', 'the claim of a save is ignored', {
    methods: (right) => ({
      saveSnapshot: (snapshot, { claim, release: _, ...options } = {}) =>
        right.saveSnapshot(
          snapshot,
          claim === undefined ? options : { expectedRevision: snapshot.revision, ...options },
        ),
    }),
  }),
  wrong('S3', 'the claim of a save is checked before it, in a step of its own', {
    methods: (right, store) => ({
      saveSnapshot: async (snapshot, { claim, release, ...options } = {}) => {
        const found = await store.readInstance(snapshot.instanceId)
        const held = claim === undefined ? null : claimOn(found?.record ?? null, claim.taskId)
        if (claim === undefined || held === null || held.token !== claim.token)
          return right.saveSnapshot(snapshot, {
            ...options,
            ...(claim === undefined ? {} : { claim }),
            ...(release === undefined ? {} : { release }),
          })
        const saved = await right.saveSnapshot(snapshot, {
          expectedRevision: snapshot.revision,
          ...options,
        })
        if (release === true) await right.releaseTaskClaim(claim)
        return saved
      },
    }),
  }),
  wrong('S3', 'a save with a claim overwrites, whatever revision it started from', {
    methods: (right, store) => ({
      saveSnapshot: async (snapshot, options = {}) => {
        const found = await store.readInstance(snapshot.instanceId)
        const revision = found?.record.snapshot.revision ?? snapshot.revision
        return right.saveSnapshot(
          snapshot,
          options.claim === undefined ? options : { expectedRevision: revision, ...options },
        )
      },
    }),
  }),
  wrong('S3', 'the release of a save is a second step, which is lost', {
    methods: (right) => ({
      saveSnapshot: (snapshot, { release: _, ...options } = {}) =>
        right.saveSnapshot(snapshot, options),
    }),
  }),
  wrong('S3', 'the release of a save is made although the save is refused', {
    methods: (right) => ({
      saveSnapshot: async (snapshot, options = {}) => {
        const { claim, release, ...rest } = options
        if (claim === undefined || release !== true) return right.saveSnapshot(snapshot, options)
        try {
          return await right.saveSnapshot(snapshot, { claim, ...rest })
        } finally {
          await right.releaseTaskClaim(claim).catch(() => {})
        }
      },
    }),
  }),
  wrong('S3', 'the worker of a save is not compared where a token is given', {
    methods: (right, store) => ({
      saveSnapshot: async (snapshot, options = {}) => {
        const { claim } = options
        if (claim === undefined) return right.saveSnapshot(snapshot, options)
        const found = await store.readInstance(snapshot.instanceId)
        const held = claimOn(found?.record ?? null, claim.taskId)
        const same = held !== null && held.token === claim.token
        return right.saveSnapshot(snapshot, {
          ...options,
          claim: same ? { ...claim, workerId: held.workerId } : claim,
        })
      },
    }),
  }),
  wrong('S3', 'a save takes the claim of another instance', {
    methods: (right) => ({
      saveSnapshot: (snapshot, options = {}) => {
        const { claim, release: _, ...rest } = options
        return claim === undefined || claim.instanceId === snapshot.instanceId
          ? right.saveSnapshot(snapshot, options)
          : right.saveSnapshot(snapshot, rest)
      },
    }),
  }),
  wrong('S4', 'a save brings an ended instance back', {
    methods: (right) => ({
      saveSnapshot: async (snapshot, options) => {
        try {
          return await right.saveSnapshot(snapshot, options)
        } catch (error) {
          if (!BackendError.is(error, 'TERMINAL')) throw error
          await right.deleteSnapshot(snapshot.instanceId)
          return right.saveSnapshot(snapshot)
        }
      },
    }),
  }),
  wrong('S4', 'a result is stored in an ended instance', {
    methods: (right, store) => ({
      saveTaskResult: async (params) => {
        try {
          await right.saveTaskResult(params)
        } catch (error) {
          if (!BackendError.is(error, 'TERMINAL')) throw error
          const { instanceId, taskId, output } = params
          const found = await store.readInstance(instanceId)
          if (found === null) throw error
          const record = withResults(found.record, (results) =>
            new Map(results).set(taskId, { taskId, output }),
          )
          await store.writeInstance(record, found.version)
        }
      },
    }),
  }),
  wrong('S4', 'a save on an ended instance does nothing, and says nothing', {
    methods: (right) => ({
      saveSnapshot: (snapshot, options) =>
        right.saveSnapshot(snapshot, options).catch((error: unknown) => {
          if (BackendError.is(error, 'TERMINAL')) return right.loadSnapshot(snapshot.instanceId)
          throw error
        }),
    }),
  }),
]
