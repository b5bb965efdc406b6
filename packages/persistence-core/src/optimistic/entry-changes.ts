import type { DispatchEntry } from '../dispatch.ts'
import type { EntryChanges } from './store.ts'

/**
 * What becomes of an instance's dispatch entries.
 *
 * @param stored What was read.
 * @param entries What is to be there.
 * @param added Tasks that start anew, though one of that name may have been there.
 * @param released Tasks whose claims are given up.
 */
export function entryChanges(
  stored: readonly DispatchEntry[],
  entries: readonly DispatchEntry[],
  added: ReadonlySet<string>,
  released: ReadonlySet<string>,
): EntryChanges {
  const before = finder(stored)
  const after = finder(entries)
  const isGone = (taskId: string): boolean => after(taskId) === undefined
  const fresh: DispatchEntry[] = []
  const moved: DispatchEntry[] = []
  for (const entry of entries) {
    const old = added.has(entry.taskId) ? undefined : before(entry.taskId)
    if (old === undefined) fresh.push(entry)
    else if (!isSamePlace(old, entry)) moved.push(entry)
  }
  return {
    removed: stored.flatMap(({ taskId }) => (isGone(taskId) ? taskId : [])),
    added: fresh,
    moved,
    released: [...released].filter((taskId) => !isGone(taskId)),
  }
}

/** Finds entries by task: a fork has up to a thousand, anything else has one. */
function finder(entries: readonly DispatchEntry[]): (taskId: string) => DispatchEntry | undefined {
  if (entries.length <= 1)
    return (taskId) => (entries[0]?.taskId === taskId ? entries[0] : undefined)
  const byTask = new Map(entries.map((entry) => [entry.taskId, entry]))
  return (taskId) => byTask.get(taskId)
}

/** Whether two entries have the same place in the queue; claims and deliveries aside. */
function isSamePlace(a: DispatchEntry, b: DispatchEntry): boolean {
  return (
    a.availableSince === b.availableSince &&
    a.priority === b.priority &&
    a.attempt === b.attempt &&
    a.inputTaskId === b.inputTaskId &&
    a.lastFailedWorker === b.lastFailedWorker &&
    a.timer === b.timer &&
    a.tags.length === b.tags.length &&
    a.tags.every((tag, index) => tag === b.tags[index])
  )
}
