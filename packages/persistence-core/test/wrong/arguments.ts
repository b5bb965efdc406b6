import { setImmediate } from 'node:timers/promises'
import { claimLost } from '../../src/adapter.ts'
import { BackendError, type TaskClaimRef } from '../../src/index.ts'
import { type WrongBackend, wrong } from './flawed.ts'

/** Rules A1 to A3: wrong arguments, the order of checks, and aborts. */
export const wrongArguments: readonly WrongBackend[] = [
  wrong('A1', 'an empty id is taken', {
    methods: (right) => ({
      loadSnapshot: async (instanceId, options) => {
        if (instanceId === '') throw new BackendError('NOT_FOUND', 'there is no such instance')
        return right.loadSnapshot(instanceId, options)
      },
    }),
  }),
  wrong('A1', 'a limit that is too large is cut', {
    methods: (right) => ({
      findAvailableTasks: (params, options) =>
        right.findAvailableTasks(
          params.limit > 1000 ? { ...params, limit: 1000 } : params,
          options,
        ),
    }),
  }),
  wrong('A1', 'a TTL of nothing is taken as the smallest', {
    methods: (right) => ({
      renewTaskClaim: (claim, ttlMs, options) =>
        right.renewTaskClaim(claim, ttlMs === 0 ? 1 : ttlMs, options),
    }),
  }),
  wrong('A1', 'a token that is no number is ignored', {
    methods: (right) => ({
      releaseTaskClaim: (claim, options) => {
        if (typeof claim?.token !== 'string') return right.releaseTaskClaim(claim, options)
        const { token: _, ...ref } = claim as TaskClaimRef
        return right.releaseTaskClaim(ref, options)
      },
    }),
  }),
  wrong('A1', 'a wrong argument throws where it should reject', {
    methods: (right) => ({
      getSignal: (instanceId, kind, options) => {
        if (typeof instanceId !== 'string') throw new TypeError('instanceId must be a string')
        return right.getSignal(instanceId, kind, options)
      },
    }),
  }),
  wrong('A2', 'the instance is looked for before the arguments are looked at', {
    methods: (right) => ({
      commitTask: async (params, options) => {
        await right.loadSnapshot(params.claim.instanceId)
        return right.commitTask(params, options)
      },
    }),
  }),
  wrong('A1', 'the limit of a payload is off by one', {
    options: ({ maxPayloadBytes, ...options }) =>
      maxPayloadBytes === undefined
        ? options
        : { ...options, maxPayloadBytes: maxPayloadBytes + 1 },
  }),
  wrong('A3', 'a signal that has aborted is ignored', {
    methods: (right) => ({
      stats: () => right.stats(),
    }),
  }),
  wrong('A2', 'an abort is looked at before the backend is', {
    methods: (right) => ({
      loadSnapshot: (instanceId, options) =>
        right.loadSnapshot(instanceId, options).catch((error: unknown) => {
          if (BackendError.is(error, 'CLOSED')) options?.signal?.throwIfAborted()
          throw error
        }),
    }),
  }),
  wrong('A2', 'a lost claim is told before the end of its instance', {
    methods: (right) => ({
      commitTask: (params, options) =>
        right.commitTask(params, options).catch((error: unknown) => {
          const { instanceId, taskId } = params.claim
          throw BackendError.is(error, 'TERMINAL') ? claimLost(instanceId, taskId) : error
        }),
    }),
  }),
  wrong('A3', 'a call leaves a listener on its signal', {
    methods: (right) => ({
      stats: (options) => {
        options?.signal?.addEventListener('abort', () => {})
        return right.stats(options)
      },
    }),
  }),
  wrong('A3', 'a signal that aborts while a call runs is ignored', {
    store: (right) => ({
      readInstance: async (instanceId) => {
        await setImmediate()
        return right.readInstance(instanceId)
      },
    }),
    methods: (right) => ({
      loadSnapshot: async (instanceId, options) => {
        options?.signal?.throwIfAborted()
        return right.loadSnapshot(instanceId)
      },
    }),
  }),
]
