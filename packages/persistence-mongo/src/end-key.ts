import type { EndedStatus } from '@sayiir/persistence-core'
import { ENDED_STATUSES } from '@sayiir/persistence-core/adapter'
import type { Document } from 'mongodb'

/** How far the ranges of two statuses are apart: further than any time, and all of them are safe integers. */
const SPAN = 2 ** 48

/** Less than what any instance has that has ended. */
export const LEAST_END_KEY: number = -(ENDED_STATUSES.length + 1) * SPAN

/**
 * What an instance that has ended has in the index of care: less than zero, and for each status a
 * range of its own, with the latest first. So what is pruned, also of one status only, is a range.
 */
export function endKey(status: EndedStatus, endedAt: number): number {
  return -(placeOf(status) * SPAN + endedAt)
}

/** The same of `$s` and `$m`, in a pipeline. */
export const END_KEY: Document = {
  $subtract: [
    { $multiply: [{ $add: [{ $indexOfArray: [ENDED_STATUSES, '$s'] }, 1] }, -SPAN] },
    '$m',
  ],
}

/** The keys of what ended so before a time. */
export function endedBeforeRange(
  status: EndedStatus,
  endedBefore: number,
): { readonly $gt: number; readonly $lte: number } {
  return { $gt: endKey(status, endedBefore), $lte: endKey(status, 0) }
}

/** From 1: zero and above is what needs care. */
function placeOf(status: EndedStatus): number {
  return ENDED_STATUSES.indexOf(status) + 1
}
