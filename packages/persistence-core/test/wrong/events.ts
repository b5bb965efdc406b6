import type { InstanceRecord } from '../../src/adapter.ts'
import { timerOf } from '../../src/adapter.ts'
import { BackendError, type Position, type WorkflowSnapshot } from '../../src/index.ts'
import { replace, type WrongBackend, withEntries, wrong } from './flawed.ts'

const NOTHING = new Uint8Array(0)

function positionOf({ state }: WorkflowSnapshot): Position | null {
  return 'position' in state ? state.position : null
}

/** Whether a delay or signal was over between the two. */
function wokeUp(after: InstanceRecord, before: InstanceRecord | null): boolean {
  const kind = before === null ? undefined : positionOf(before.snapshot)?.kind
  const timed = kind === 'at-delay' || kind === 'at-signal'
  return timed && positionOf(after.snapshot)?.kind !== kind
}

/** Rule E1. */
export const wrongDelays: readonly WrongBackend[] = [
  wrong(
    'E1',
    'a delay is over a little early',
    {
      scanned: (record, at) =>
        withEntries(record, (entry) => ({
          ...entry,
          availableSince:
            entry.timer && entry.availableSince < at + 60
              ? Math.min(entry.availableSince, at)
              : entry.availableSince,
        })),
    },
    { stopped: true },
  ),
  wrong('E1', 'a delay is over only when the instance is loaded', {
    scanned: (record) => (timerOf(record.snapshot) === null ? record : { ...record, entries: [] }),
    methods: (right) => ({
      findAvailableTasks: async (params) => {
        const tasks = await right.findAvailableTasks(params)
        return tasks.filter(({ taskId }) => taskId !== 'b')
      },
    }),
  }),
  wrong('E1', 'a delay that completes the workflow does so with nothing', {
    written: (after, before) => {
      const { state } = after.snapshot
      const delayed = before !== null && positionOf(before.snapshot)?.kind === 'at-delay'
      return delayed && state.status === 'completed'
        ? {
            ...after,
            snapshot: { ...after.snapshot, state: { ...state, finalOutput: NOTHING } },
          }
        : after
    },
  }),
  wrong('E1', 'a delay with nothing after it stays for ever', {
    written: (after, before) =>
      before !== null &&
      positionOf(before.snapshot)?.kind === 'at-delay' &&
      after.snapshot.state.status === 'completed'
        ? before
        : after,
  }),
  wrong('E1', 'the waiting time after a delay is counted from the look at it', {
    written: (after, before) =>
      wokeUp(after, before)
        ? withEntries(after, (entry) => ({
            ...entry,
            availableSince: Math.max(entry.availableSince, after.snapshot.updatedAt),
          }))
        : after,
  }),
]

/** Rules E2 to E4. */
export const wrongEvents: readonly WrongBackend[] = [
  wrong('E2', 'an event is read first and removed afterwards', {
    methods: (right, store) => ({
      consumeEvent: async (instanceId, signalName) => {
        const found = await store.readInstance(instanceId)
        const event = found?.record.events.find((one) => one.signalName === signalName)
        if (event === undefined) return null
        await right.consumeEvent(instanceId, signalName)
        return event.payload
      },
    }),
  }),
  wrong('E2', 'the newest event is taken first', {
    written: (after, before) =>
      before !== null && after.events.length > before.events.length
        ? { ...after, events: [...after.events.slice(-1), ...after.events.slice(0, -1)] }
        : after,
  }),
  wrong('E2', 'an event replaces the one before it', {
    written: (after) => ({
      ...after,
      events: [...new Map(after.events.map((event) => [event.signalName, event])).values()],
    }),
  }),
  wrong('E2', 'all signals share one queue', {
    methods: (right, store) => ({
      consumeEvent: async (instanceId, signalName) => {
        const found = await store.readInstance(instanceId)
        return right.consumeEvent(instanceId, found?.record.events[0]?.signalName ?? signalName)
      },
    }),
  }),
  wrong('E2', 'an event is told apart by its payload', {
    methods: (right) => ({
      sendEvent: (instanceId, signalName, payload, options) => {
        const eventId = `${Buffer.from(payload).toString('hex')}-`
        return right.sendEvent(instanceId, signalName, payload, { eventId, ...options })
      },
    }),
  }),
  wrong('E2', 'the id of an event is ignored', {
    methods: (right) => ({
      sendEvent: (instanceId, signalName, payload) =>
        right.sendEvent(instanceId, signalName, payload),
    }),
  }),
  wrong('E2', 'the id of an event is forgotten when it is consumed', {
    written: (after, before) =>
      before !== null && after.events.length < before.events.length
        ? { ...after, eventIds: new Map() }
        : after,
  }),
  wrong('E2', 'the id of an event counts for all signals', {
    methods: (right) => {
      const sent = new Set<string>()
      return {
        sendEvent: async (instanceId, signalName, payload, options) => {
          const key = JSON.stringify([instanceId, options?.eventId])
          if (options?.eventId !== undefined && sent.has(key)) return
          await right.sendEvent(instanceId, signalName, payload, options)
          sent.add(key)
        },
      }
    },
  }),
  wrong('E2', 'an event to an ended instance is dropped without a word', {
    methods: (right) => ({
      sendEvent: (...args) =>
        right.sendEvent(...args).catch((error: unknown) => {
          if (!BackendError.is(error, 'TERMINAL')) throw error
        }),
    }),
  }),
  wrong('E2', 'an event to an unknown instance is dropped without a word', {
    methods: (right) => ({
      sendEvent: (...args) =>
        right.sendEvent(...args).catch((error: unknown) => {
          if (!BackendError.is(error, 'NOT_FOUND')) throw error
        }),
    }),
  }),
  wrong('E3', 'an event that comes before the instance is at the signal is lost', {
    methods: (right) => ({
      sendEvent: async (instanceId, signalName, payload, options) => {
        const position = positionOf(await right.loadSnapshot(instanceId))
        if (position?.kind === 'at-signal')
          await right.sendEvent(instanceId, signalName, payload, options)
      },
    }),
  }),
  wrong('E3', 'an event that is queued is not looked for when the instance gets to the signal', {
    written: (after, before) => {
      const taken = before !== null && after.events.length < before.events.length
      return taken && positionOf(before.snapshot)?.kind === 'at-task'
        ? { ...after, snapshot: { ...after.snapshot, state: before.snapshot.state } }
        : after
    },
  }),
  wrong('E3', 'a time-out beats an event that was queued before', {
    methods: (right, store) => ({
      saveSnapshot: async (snapshot, options) => {
        const position = positionOf(snapshot)
        const late =
          position?.kind === 'at-signal' &&
          position.wakeAt !== null &&
          position.wakeAt <= (await store.now())
        if (!late) return right.saveSnapshot(snapshot, options)
        const found = await store.readInstance(snapshot.instanceId)
        const events = found?.record.events ?? []
        await replace(store, snapshot.instanceId, (record) => ({ ...record, events: [] }))
        await right.saveSnapshot(snapshot, options)
        await right.findAvailableTasks({ workerId: 'w', limit: 1 })
        await replace(store, snapshot.instanceId, (record) => ({ ...record, events }))
        return right.loadSnapshot(snapshot.instanceId)
      },
    }),
  }),
  wrong('E3', 'an event that comes too late still beats the time-out', {
    methods: (right, store) => ({
      sendEvent: async (instanceId, signalName, payload, options) => {
        const found = await store.readInstance(instanceId)
        const position = found === null ? null : positionOf(found.record.snapshot)
        if (position?.kind === 'at-signal' && position.wakeAt !== null)
          await replace(store, instanceId, (record) => ({
            ...record,
            snapshot: {
              ...record.snapshot,
              state: { ...record.snapshot.state, position: { ...position, wakeAt: null } } as never,
            },
          }))
        await right.sendEvent(instanceId, signalName, payload, options)
      },
    }),
  }),
  wrong('E3', 'an event that comes while the instance is paused is lost', {
    methods: (right) => ({
      sendEvent: async (instanceId, signalName, payload, options) => {
        const { state } = await right.loadSnapshot(instanceId)
        if (state.status !== 'paused')
          await right.sendEvent(instanceId, signalName, payload, options)
      },
    }),
  }),
  wrong('E3', 'unpausing does not look for the event that came meanwhile', {
    methods: (right, store) => ({
      unpause: async (instanceId) => {
        const found = await store.readInstance(instanceId)
        const events = found?.record.events ?? []
        await replace(store, instanceId, (record) => ({ ...record, events: [] }))
        const unpaused = await right.unpause(instanceId)
        await replace(store, instanceId, (record) => ({ ...record, events }))
        return unpaused
      },
    }),
  }),
  wrong('E3', 'the payload does not become a result', {
    written: (after, before) => {
      const position = before === null ? null : positionOf(before.snapshot)
      const { state } = after.snapshot
      if (position?.kind !== 'at-signal' || positionOf(after.snapshot)?.kind === 'at-signal')
        return after
      const completedTasks = new Map(state.completedTasks)
      completedTasks.delete(position.signalId)
      return {
        ...after,
        snapshot: { ...after.snapshot, state: { ...state, completedTasks } as never },
      }
    },
  }),
  wrong('E3', 'a signal with nothing after it completes the workflow with nothing', {
    written: (after, before) => {
      const { state } = after.snapshot
      const signalled = before !== null && positionOf(before.snapshot)?.kind === 'at-signal'
      return signalled && state.status === 'completed'
        ? {
            ...after,
            snapshot: { ...after.snapshot, state: { ...state, finalOutput: NOTHING } },
          }
        : after
    },
  }),
  wrong('E3', 'an event for another signal wakes the instance', {
    methods: (right) => ({
      sendEvent: async (instanceId, signalName, payload, options) => {
        const { state } = await right.loadSnapshot(instanceId)
        const position = state.status === 'in-progress' ? state.position : null
        const parkedAt = position?.kind === 'at-signal' ? position.signalName : signalName
        await right.sendEvent(instanceId, parkedAt, payload, options)
      },
    }),
  }),
  wrong('E4', 'an event that moves an instance stays in the queue', {
    written: (after, before) =>
      before !== null && wokeUp(after, before) && after.snapshot.state.status === 'in-progress'
        ? { ...after, events: sentNow(after, before) }
        : after,
  }),
]

/** The queue with the payload that the signal's result is. */
function sentNow(after: InstanceRecord, before: InstanceRecord): InstanceRecord['events'] {
  const position = positionOf(before.snapshot)
  if (position?.kind !== 'at-signal') return after.events
  const payload = after.snapshot.state.completedTasks.get(position.signalId)?.output
  return payload === undefined || payload.length === 0
    ? after.events
    : [{ signalName: position.signalName, payload }, ...after.events]
}
