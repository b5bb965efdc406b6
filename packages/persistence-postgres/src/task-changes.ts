import type { DispatchEntry, InstanceWrite } from '@sayiir/persistence-core/adapter'
import { isOpen, TIMER_TASK_ID } from '@sayiir/persistence-core/adapter'
import { forkSlot, slotOf } from './records.ts'

/** What becomes of a task's row; see `change_instances`. */
const KIND = { removed: 0, replaced: 1, added: 2, moved: 3, checked: 4, relocated: 5 } as const
/** More of it. */
const FLAG = { committed: 1, claimed: 2, released: 4 } as const

/** A task's row that changes. */
export interface TaskChange {
  readonly kind: number
  readonly flags: number
  readonly oldTask: string
  readonly oldSlot: number
  /** Who must hold it, or ''. */
  readonly worker: string
  /** The token that it must be held under, 0: any. */
  readonly token: number
  readonly slot: number
  /** What it becomes; null where it goes away, or stays. */
  readonly entry: DispatchEntry | null
  /** Of the claim that comes with it, -1: for ever. */
  readonly ttl: number
}

/** Which rows an instance's tasks are in after a write, and what is to be checked. */
export function taskChanges(write: InstanceWrite): TaskChange[] {
  const { before, after, entries, holds, commit, claimNext } = write
  const changes: TaskChange[] = []
  const oldSlot = (taskId: string): number => (before === null ? 0 : slotOf(before.head, taskId))
  const old = (taskId: string): Pick<TaskChange, 'oldTask' | 'oldSlot' | 'worker' | 'token'> => {
    const isHeld = holds?.taskId === taskId
    return {
      oldTask: taskId,
      oldSlot: oldSlot(taskId),
      worker: isHeld ? holds.workerId : '',
      token: isHeld ? (holds.token ?? 0) : 0,
    }
  }
  const committed = (taskId: string): number => (commit?.taskId === taskId ? FLAG.committed : 0)
  const removed = new Set(entries.removed)
  const stored = new Set(before?.entries.map(({ taskId }) => taskId))
  const added = new Set(entries.added.map(({ taskId }) => taskId))
  for (const entry of entries.added) {
    const { taskId } = entry
    const slot = slotOf(after.head, taskId)
    const replaced = stored.has(taskId)
      ? // In another slot it has another row.
        slot === oldSlot(taskId)
        ? taskId
        : undefined
      : slot === 0
        ? [...removed].find((one) => oldSlot(one) === 0)
        : undefined
    if (replaced === undefined) {
      changes.push({
        ...{ kind: KIND.added, flags: 0, oldTask: '', oldSlot: 0, worker: '', token: 0 },
        ...{ slot, entry, ttl: -1 },
      })
      continue
    }
    removed.delete(replaced)
    // The next step takes the row of the one before it, and a worker goes on with it at once.
    const isNext =
      claimNext?.own === taskId &&
      holds?.taskId === replaced &&
      claimNext.request.workerId === holds.workerId
    changes.push({
      kind: KIND.replaced,
      flags: committed(replaced) | (isNext ? FLAG.claimed : 0),
      ...old(replaced),
      slot,
      entry,
      ttl: isNext ? (claimNext.request.ttlMs ?? -1) : -1,
    })
  }
  for (const taskId of removed) {
    const kind = { kind: KIND.removed, flags: committed(taskId) }
    changes.push({ ...kind, ...old(taskId), slot: 0, entry: null, ttl: -1 })
  }
  const moved = new Set(entries.moved.map(({ taskId }) => taskId))
  const isOtherRoute = before?.head.definitionHash !== after.head.definitionHash
  for (const entry of after.entries) {
    const { taskId } = entry
    if (added.has(taskId)) continue
    const slot = slotOf(after.head, taskId)
    const isReleased = entries.released.includes(taskId)
    if (!moved.has(taskId) && !isReleased && !isOtherRoute && slot === oldSlot(taskId)) continue
    const kind = slot === oldSlot(taskId) ? KIND.moved : KIND.relocated
    const flags = isReleased ? FLAG.released : 0
    changes.push({ kind, flags, ...old(taskId), slot, entry, ttl: -1 })
  }
  if (holds !== null && !changes.some(({ worker }) => worker !== '')) {
    const kind = { kind: KIND.checked, flags: 0 }
    changes.push({ ...kind, ...old(holds.taskId), slot: 0, entry: null, ttl: -1 })
  }
  return changes
}

/** The slot that a held task may be in, beside 0. */
export function holdSlot(taskId: string): number {
  return taskId === TIMER_TASK_ID ? 0 : forkSlot(taskId)
}

/** Entries that may be handed out now or later because of a write, by the definition and tags that they have. */
export function offered(write: InstanceWrite, changes: readonly TaskChange[]): DispatchEntry[] {
  if (!isOpen(write.after)) return []
  if (write.before !== null && !isOpen(write.before)) return [...write.after.entries]
  return changes.flatMap(({ entry, flags }) =>
    entry === null || (flags & FLAG.claimed) !== 0 ? [] : [entry],
  )
}
