import type { Branches, TaskResult } from '../position.ts'
import { positionOf, type SnapshotHead } from '../snapshot.ts'

/** The head with each finished branch's result put through `change`; the same object where nothing changes. */
export function mapBranches(
  head: SnapshotHead,
  change: (result: TaskResult) => TaskResult,
): SnapshotHead {
  const position = positionOf(head)
  if (position === null || !('completedBranches' in position)) return head
  let changed = false
  const completedBranches: Branches = new Map(
    Array.from(position.completedBranches, ([label, result]) => {
      const after = change(result)
      changed ||= after !== result
      return [label, after] as const
    }),
  )
  if (!changed) return head
  return {
    ...head,
    state: { ...head.state, position: { ...position, completedBranches } },
  } as SnapshotHead
}

/** The finished branches' results, none where the position has no branches. */
export function branchResults(head: SnapshotHead): readonly TaskResult[] {
  const position = positionOf(head)
  return position !== null && 'completedBranches' in position
    ? [...position.completedBranches.values()]
    : []
}
