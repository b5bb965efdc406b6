import { claimEntry, type DispatchEntry, type PlanOptions, planDispatch } from '../src/dispatch.ts'
import { applyOutcome } from '../src/outcome.ts'
import type { Position } from '../src/position.ts'
import type { WorkflowSnapshot } from '../src/snapshot.ts'
import type { TaskOutcome } from '../src/task-claim-store.ts'

/** A stored snapshot and the dispatch entries beside it. */
export interface Dispatched {
  readonly snapshot: WorkflowSnapshot
  readonly entries: readonly DispatchEntry[]
}

export const T0 = 1_700_000_000_000
export const T1: number = T0 + 1000
export const T2: number = T0 + 2000
const held = { workerId: 'w', token: 7, claimedAt: T0, expiresAt: T0 + 60_000 }

export function stored(snapshot: WorkflowSnapshot, since: number = T0): Dispatched {
  return { snapshot, entries: planDispatch(null, snapshot, since) }
}

/** The same with this task claimed. */
export function claimed({ snapshot, entries }: Dispatched, taskId: string): Dispatched {
  return {
    snapshot,
    entries: entries.map((entry) => (entry.taskId === taskId ? claimEntry(entry, held) : entry)),
  }
}

export function change(
  before: Dispatched,
  snapshot: WorkflowSnapshot,
  now: number = T1,
  options: PlanOptions = {},
): Dispatched {
  return { snapshot, entries: planDispatch(before, snapshot, now, options) }
}

export function commit(
  before: Dispatched,
  taskId: string,
  outcome: TaskOutcome,
  now: number = T1,
): Dispatched {
  const after = applyOutcome(before.snapshot, { taskId, workerId: 'w' }, outcome, now)
  return change(
    before,
    after,
    now,
    {
      completed: { completed: taskId },
      retry: { retried: taskId },
      failed: {},
    }[outcome.kind],
  )
}

export function entryOf({ entries }: Dispatched, taskId: string): DispatchEntry {
  const entry = entries.find((one) => one.taskId === taskId)
  if (entry === undefined) throw new Error(`no entry for ${taskId}`)
  return entry
}

export const idsOf = ({ entries }: Dispatched): string[] => entries.map(({ taskId }) => taskId)

export const delay = (
  wakeAt: number,
  nextTaskId: string | null = 'b',
): Extract<Position, { kind: 'at-delay' }> => ({
  kind: 'at-delay',
  delayId: 'd',
  enteredAt: T0,
  wakeAt,
  nextTaskId,
})
export const signal = (wakeAt: number | null, nextTaskId: string | null = 'b'): Position => ({
  kind: 'at-signal',
  signalId: 's',
  signalName: 'go',
  wakeAt,
  nextTaskId,
})
