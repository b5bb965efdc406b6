import type { Abortable, PersistentBackend } from '../backend.ts'
import { collect } from './context.ts'
import {
  type Argument,
  argument,
  BYTES,
  CLAIM,
  DELAY,
  FLAG,
  ID,
  NAME,
  NOT_NUMBERS,
  NOT_WHOLE,
  OPTIONAL_ID,
  OPTIONAL_LIMIT,
  OUTCOME,
  SNAPSHOT,
  TAGS,
  TASK_ID,
  TASK_LIMIT,
  TEXT_OR_NULL,
  TTL,
  TTL_OR_NULL,
  WORKER_ID,
} from './malformed.ts'

/** The arguments of a call, by name; typed so that wrong ones can be passed. */
export type Arguments = Readonly<Record<ArgumentName, never>>

type ArgumentName =
  | 'snapshot'
  | 'expectedRevision'
  | 'claim'
  | 'release'
  | 'status'
  | 'definitionHash'
  | 'prefix'
  | 'after'
  | 'limit'
  | 'instanceId'
  | 'taskId'
  | 'workerId'
  | 'output'
  | 'payload'
  | 'kind'
  | 'reason'
  | 'requestedBy'
  | 'interruptedAtTask'
  | 'signalName'
  | 'eventId'
  | 'ttlMs'
  | 'additionalMs'
  | 'tags'
  | 'definitionHashes'
  | 'outcome'
  | 'claimNext'
  | 'timeoutMs'
  | 'endedBefore'
  | 'statuses'
  | 'dryRun'

/** A method, how to call it, and what it takes. */
export interface Method {
  readonly name: string
  readonly takes: Readonly<Partial<Record<ArgumentName, Argument>>>
  /** What it does on an instance that is not there: fails with NOT_FOUND, or is another matter. */
  readonly needsInstance: boolean
  call(backend: PersistentBackend, args: Arguments, options?: Abortable): Promise<unknown>
}

const FILTER = { tags: TAGS, definitionHashes: TAGS }
const FIND = { workerId: WORKER_ID, limit: TASK_LIMIT, ...FILTER }
const TARGET = { instanceId: ID }
const SIGNAL = {
  instanceId: ID,
  kind: argument('pause', ['stop', '', 'CANCEL', null, undefined, 5]),
}
const STATUSES = ['running', '', 5, null, ['in-progress', 'running'], [null], {}]

/** Every method of a backend. */
export const methods: readonly Method[] = [
  {
    name: 'saveSnapshot',
    needsInstance: false,
    takes: {
      snapshot: SNAPSHOT,
      expectedRevision: argument(undefined, NOT_NUMBERS, NOT_WHOLE),
      claim: { ...CLAIM, valid: undefined },
      release: FLAG,
    },
    call: (backend, { snapshot, ...conditions }, options) =>
      backend.saveSnapshot(snapshot, { ...conditions, ...options }),
  },
  {
    name: 'loadSnapshot',
    needsInstance: true,
    takes: TARGET,
    call: (backend, { instanceId }, options) => backend.loadSnapshot(instanceId, options),
  },
  {
    name: 'deleteSnapshot',
    needsInstance: true,
    takes: TARGET,
    call: (backend, { instanceId }, options) => backend.deleteSnapshot(instanceId, options),
  },
  {
    name: 'listSnapshots',
    needsInstance: false,
    takes: {
      status: argument(undefined, STATUSES),
      definitionHash: argument(undefined, [
        ...OPTIONAL_ID.mistyped.filter((id) => !Array.isArray(id)),
        null,
        ['a', ''],
      ]),
      prefix: OPTIONAL_ID,
      after: OPTIONAL_ID,
      limit: OPTIONAL_LIMIT,
    },
    call: (backend, filter, options) => collect(backend.listSnapshots({ ...filter, ...options })),
  },
  {
    name: 'saveTaskResult',
    needsInstance: true,
    takes: {
      instanceId: ID,
      taskId: TASK_ID,
      output: BYTES,
      claim: { ...CLAIM, valid: undefined },
    },
    call: (backend, args, options) => backend.saveTaskResult(args, options),
  },
  {
    name: 'loadTaskResult',
    needsInstance: true,
    takes: { instanceId: ID, taskId: TASK_ID },
    call: (backend, { instanceId, taskId }, options) =>
      backend.loadTaskResult(instanceId, taskId, options),
  },
  {
    name: 'storeSignal',
    needsInstance: true,
    takes: { ...SIGNAL, reason: TEXT_OR_NULL, requestedBy: TEXT_OR_NULL },
    call: (backend, { instanceId, kind, ...request }, options) =>
      backend.storeSignal(instanceId, kind, request, options),
  },
  {
    name: 'getSignal',
    needsInstance: false,
    takes: SIGNAL,
    call: (backend, { instanceId, kind }, options) => backend.getSignal(instanceId, kind, options),
  },
  {
    name: 'clearSignal',
    needsInstance: false,
    takes: SIGNAL,
    call: (backend, { instanceId, kind }, options) =>
      backend.clearSignal(instanceId, kind, options),
  },
  {
    name: 'checkAndCancel',
    needsInstance: false,
    takes: { instanceId: ID, interruptedAtTask: OPTIONAL_ID },
    call: (backend, { instanceId, ...details }, options) =>
      backend.checkAndCancel(instanceId, details, options),
  },
  {
    name: 'checkAndPause',
    needsInstance: false,
    takes: TARGET,
    call: (backend, { instanceId }, options) => backend.checkAndPause(instanceId, options),
  },
  {
    name: 'checkControlSignals',
    needsInstance: false,
    takes: { instanceId: ID, interruptedAtTask: OPTIONAL_ID },
    call: (backend, { instanceId, ...details }, options) =>
      backend.checkControlSignals(instanceId, details, options),
  },
  {
    name: 'unpause',
    needsInstance: true,
    takes: TARGET,
    call: (backend, { instanceId }, options) => backend.unpause(instanceId, options),
  },
  {
    name: 'sendEvent',
    needsInstance: true,
    takes: { instanceId: ID, signalName: NAME, payload: BYTES, eventId: OPTIONAL_ID },
    call: (backend, { instanceId, signalName, payload, ...rest }, options) =>
      backend.sendEvent(instanceId, signalName, payload, { ...rest, ...options }),
  },
  {
    name: 'consumeEvent',
    needsInstance: false,
    takes: { instanceId: ID, signalName: NAME },
    call: (backend, { instanceId, signalName }, options) =>
      backend.consumeEvent(instanceId, signalName, options),
  },
  {
    name: 'claimTask',
    needsInstance: true,
    takes: { instanceId: ID, taskId: TASK_ID, workerId: WORKER_ID, ttlMs: TTL_OR_NULL },
    call: (backend, args, options) => backend.claimTask(args, options),
  },
  {
    name: 'releaseTaskClaim',
    needsInstance: true,
    takes: { claim: CLAIM },
    call: (backend, { claim }, options) => backend.releaseTaskClaim(claim, options),
  },
  {
    name: 'extendTaskClaim',
    needsInstance: true,
    takes: { claim: CLAIM, additionalMs: TTL },
    call: (backend, { claim, additionalMs }, options) =>
      backend.extendTaskClaim(claim, additionalMs, options),
  },
  {
    name: 'renewTaskClaim',
    needsInstance: true,
    takes: { claim: CLAIM, ttlMs: TTL },
    call: (backend, { claim, ttlMs }, options) => backend.renewTaskClaim(claim, ttlMs, options),
  },
  {
    name: 'findAvailableTasks',
    needsInstance: false,
    takes: FIND,
    call: (backend, args, options) => backend.findAvailableTasks(args, options),
  },
  {
    name: 'claimAvailableTasks',
    needsInstance: false,
    takes: { ...FIND, ttlMs: TTL_OR_NULL },
    call: (backend, args, options) => backend.claimAvailableTasks(args, options),
  },
  {
    name: 'commitTask',
    needsInstance: true,
    takes: {
      claim: CLAIM,
      outcome: OUTCOME,
      claimNext: argument(undefined, [
        null,
        5,
        {},
        { ttlMs: '1' },
        { ttlMs: 1, tags: 'a' },
        { ttlMs: 1, tags: [''] },
        { ttlMs: 1, definitionHashes: [5] },
      ]),
    },
    call: (backend, args, options) => backend.commitTask(args, options),
  },
  {
    name: 'waitForWakeup',
    needsInstance: false,
    takes: { timeoutMs: DELAY, ...FILTER },
    call: (backend, args, options) => backend.waitForWakeup(args, options),
  },
  {
    name: 'prune',
    needsInstance: false,
    takes: {
      endedBefore: argument(0, [undefined, ...NOT_NUMBERS, new Date()], NOT_WHOLE),
      statuses: argument(undefined, [
        ...STATUSES,
        'completed',
        ['in-progress'],
        ['paused'],
        ['failed', 'paused'],
      ]),
      limit: OPTIONAL_LIMIT,
      dryRun: FLAG,
    },
    call: (backend, args, options) => backend.prune(args, options),
  },
  {
    name: 'stats',
    needsInstance: false,
    takes: {},
    call: (backend, _, options) => backend.stats(options),
  },
  {
    name: 'checkHealth',
    needsInstance: false,
    takes: {},
    call: (backend, _, options) => backend.checkHealth(options),
  },
]

/** The valid arguments of a method, with these put in their place. */
export function argumentsOf(method: Method, change: object = {}): Arguments {
  const valid: Record<string, unknown> = {}
  for (const [name, argument] of Object.entries(method.takes)) {
    if (argument.valid !== undefined) valid[name] = argument.valid
  }
  return { ...valid, ...change } as unknown as Arguments
}
