import type { InstanceRecord } from '../../src/adapter.ts'
import type { Position } from '../../src/index.ts'
import { type WrongBackend, withEntries, wrong } from './flawed.ts'

type Fork = Extract<Position, { kind: 'at-fork' }>

function forkOf(record: InstanceRecord | null): Fork | null {
  const state = record?.snapshot.state
  if (state === undefined || !('position' in state)) return null
  return state.position.kind === 'at-fork' ? state.position : null
}

function withPosition(record: InstanceRecord, position: Position): InstanceRecord {
  const { state } = record.snapshot
  return 'position' in state
    ? { ...record, snapshot: { ...record.snapshot, state: { ...state, position } } }
    : record
}

/** Rules F1 to F3. */
export const wrongForks: readonly WrongBackend[] = [
  wrong('F1', 'a task inside a fork may go on to a position', {
    methods: (right) => ({
      commitTask: async (params) => {
        const { outcome } = params
        try {
          return await right.commitTask(params)
        } catch (error) {
          const astray = outcome.kind === 'completed' && 'position' in outcome.next
          if (!(error instanceof TypeError) || !astray) throw error
          return right.commitTask({
            ...params,
            outcome: { ...outcome, next: { branch: null } },
          })
        }
      },
    }),
  }),
  wrong('F1', 'a task outside any fork may finish a branch', {
    methods: (right) => ({
      commitTask: async (params) => {
        const { outcome } = params
        try {
          return await right.commitTask(params)
        } catch (error) {
          const astray = outcome.kind === 'completed' && 'branch' in outcome.next
          if (!(error instanceof TypeError) || !astray) throw error
          const { output } = outcome
          return right.commitTask({
            ...params,
            outcome: { kind: 'completed', output, next: { finalOutput: output } },
          })
        }
      },
    }),
  }),
  wrong('F1', 'pending tasks are handed out one after the other', {
    scanned: (record) =>
      forkOf(record) === null ? record : { ...record, entries: record.entries.slice(0, 1) },
  }),
  wrong('F2', 'of branches that commit together the last write wins', {
    store: (right) => ({
      writeInstance: async (record, version) => {
        const { instanceId } = record.snapshot
        if (version === null || record.commits.size === 0)
          return right.writeInstance(record, version)
        for (;;) {
          const found = await right.readInstance(instanceId)
          if (await right.writeInstance(record, found?.version ?? null)) return true
        }
      },
    }),
  }),
  wrong('F2', "the join gets the last branch's result only", {
    written: (after) => {
      const { state } = after.snapshot
      if (!('position' in state) || state.position.kind !== 'at-join') return after
      const last = [...state.position.completedBranches].slice(-1)
      return withPosition(after, { ...state.position, completedBranches: new Map(last) })
    },
  }),
  wrong('F2', "the join gets each branch's first result", {
    written: (after, before) => {
      const { state } = after.snapshot
      if (!('position' in state) || state.position.kind !== 'at-join') return after
      const first = state.completedTasks
      const branches = [...state.position.completedBranches].map(
        ([label, result]) => [label, first.get(label) ?? result] as const,
      )
      return before === null
        ? after
        : withPosition(after, { ...state.position, completedBranches: new Map(branches) })
    },
  }),
  wrong('F2', 'the join is available before the last branch has finished', {
    scanned: (record) => {
      const fork = forkOf(record)
      const [entry] = record.entries
      if (fork?.join == null || entry === undefined || fork.completedBranches.size === 0)
        return record
      const join = { ...entry, taskId: fork.join.taskId, claim: null }
      return { ...record, entries: [...record.entries, join] }
    },
  }),
  wrong('F2', 'every branch that finishes makes the join available once', {
    scanned: (record) => {
      const { state } = record.snapshot
      if (!('position' in state) || state.position.kind !== 'at-join') return record
      const times = state.position.completedBranches.size
      const again = record.entries.flatMap((entry) => new Array(times).fill(entry))
      return { ...record, entries: again }
    },
  }),
  wrong('F2', 'the join takes over the priority and tags of a branch', {
    written: (after, before) => {
      const [branch] = before?.entries ?? []
      return forkOf(before) === null || forkOf(after) !== null || branch === undefined
        ? after
        : withEntries(after, (entry) => ({
            ...entry,
            tags: branch.tags,
            priority: branch.priority,
          }))
    },
  }),
  wrong('F3', 'the last output is the input, though it is of a sister branch', {
    written: (after) => {
      const { state } = after.snapshot
      return forkOf(after) === null || !('lastCompletedTaskId' in state)
        ? after
        : withEntries(after, (entry) => ({ ...entry, inputTaskId: state.lastCompletedTaskId }))
    },
  }),
  wrong('F3', 'a pending task does not wait', {
    written: (after) =>
      forkOf(after) === null
        ? after
        : withEntries(after, (entry) => ({
            ...entry,
            availableSince: Math.min(entry.availableSince, after.snapshot.updatedAt),
          })),
  }),
  wrong('F3', 'pending tasks have the tags of the instance', {
    written: (after) =>
      forkOf(after) === null
        ? after
        : withEntries(after, (entry) => ({ ...entry, tags: after.snapshot.tags })),
  }),
  wrong('F3', 'a branch is one task long', {
    methods: (right, store) => ({
      commitTask: async (params) => {
        const { claim, outcome } = params
        const found = await store.readInstance(claim.instanceId)
        const inside = forkOf(found?.record ?? null) !== null
        return right.commitTask(
          inside && outcome.kind === 'completed'
            ? { ...params, outcome: { ...outcome, next: { branch: null } } }
            : params,
        )
      },
    }),
  }),
  wrong('F3', 'a branch that fails is finished, and the others go on', {
    methods: (right, store) => ({
      commitTask: async (params) => {
        const { claim, outcome } = params
        const found = await store.readInstance(claim.instanceId)
        const inside = forkOf(found?.record ?? null) !== null
        const output = new Uint8Array(0)
        return right.commitTask(
          inside && outcome.kind === 'failed'
            ? { ...params, outcome: { kind: 'completed', output, next: { branch: null } } }
            : params,
        )
      },
    }),
  }),
  wrong('F3', 'a branch that retries holds its sisters back', {
    written: (after) => {
      const retried = Math.max(0, ...after.entries.map((entry) => retryAt(after, entry.taskId)))
      return forkOf(after) === null
        ? after
        : withEntries(after, (entry) => ({
            ...entry,
            availableSince: Math.max(entry.availableSince, retried),
          }))
    },
  }),
  wrong('F3', 'a commit in one branch gives up the claims of the others', {
    written: (after, before) =>
      forkOf(after) !== null && before !== null && after.commits.size > before.commits.size
        ? withEntries(after, (entry) => ({ ...entry, claim: null }))
        : after,
  }),
]

function retryAt({ snapshot }: InstanceRecord, taskId: string): number {
  return snapshot.retries.get(taskId)?.nextRetryAt ?? 0
}
