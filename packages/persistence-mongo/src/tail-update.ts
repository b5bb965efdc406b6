import type { InstanceWrite } from '@sayiir/persistence-core/adapter'
import type { Document } from 'mongodb'
import { literal } from './expressions.ts'
import type { KnownDocument } from './known-documents.ts'
import type { CommitDoc, ResultDoc } from './records.ts'

/**
 * What a write does to the results, of which the newest are in the document.
 *
 * @param known What is there, if that is known.
 */
export function resultSets(
  { after, removedResults, results }: InstanceWrite,
  packed: readonly ResultDoc[],
  known: KnownDocument | null,
): Record<string, unknown> {
  const sets: Record<string, unknown> = {}
  const last = results.at(-1)
  if (last !== undefined) sets.lo = last.order
  if (removedResults === 'all') {
    return { ...sets, l: literal(packed), rg: after.version, rv: [] }
  }
  const replaced = [...removedResults, ...results.map(({ taskId }) => taskId)]
  if (replaced.length === 0) return sets
  sets.l = appended('l', replaced, packed, known?.outputs)
  if (removedResults.length > 0) {
    const marked = { $setUnion: ['$rv', literal(removedResults)] }
    sets.rv = { $cond: ['$pa', marked, '$rv'] }
  }
  return sets
}

/** What a write does to what is remembered of commits. */
export function commitSets(
  { before, entries, commit, claimNext }: InstanceWrite,
  id: string,
  own: string | null,
  known: KnownDocument | null,
): Record<string, unknown> {
  const sets: Record<string, unknown> = {}
  const there = new Set(before?.entries.map(({ taskId }) => taskId))
  // Claimed since their last commit, and no entry is left that would tell.
  const voided = [...entries.removed, ...entries.added.map(({ taskId }) => taskId)].filter(
    (taskId) => taskId !== commit?.taskId && there.has(taskId),
  )
  if (voided.length > 0) {
    const isVoided = { $and: [{ $in: ['$$v.t', literal(voided)] }, { $gt: ['$$v.k', 0] }] }
    const claimed = { $filter: { input: '$e', as: 'v', cond: isVoided } }
    const marks = { $map: { input: claimed, as: 'v', in: { t: '$$v.t', k: '$$v.k' } } }
    const others = { $not: [{ $in: ['$$v.t', '$$marks.t'] }] }
    const kept = { $filter: { input: '$cv', as: 'v', cond: others } }
    const joined = { $let: { vars: { marks }, in: { $concatArrays: [kept, '$$marks'] } } }
    sets.cv = { $cond: ['$pa', joined, '$cv'] }
  }
  if (commit === null) return sets
  const { taskId, workerId, token, revision, status } = commit
  const record: CommitDoc = {
    t: taskId,
    v: (before?.version ?? 0) + 1,
    w: workerId,
    k: token,
    r: revision,
    s: status,
    b: claimNext === null ? null : id,
  }
  const forgotten = own === null ? [taskId] : [taskId, own]
  sets.cm = appended('cm', forgotten, [record], known?.commits)
  return sets
}

/**
 * A list without what there is of some tasks, and something more. What is there is not sent again,
 * also where it is known: that would be more with every step.
 *
 * @param there The tasks of what is in the list, if that is known.
 */
function appended(
  list: 'l' | 'cm',
  without: readonly string[],
  added: readonly unknown[],
  there: readonly string[] | undefined,
): Document {
  if (there?.length === 0) return literal(added)
  let kept: Document | string = `$${list}`
  if (there === undefined || there.some((taskId) => without.includes(taskId))) {
    const stays = { $not: [{ $in: ['$$v.t', literal(without)] }] }
    kept = { $filter: { input: kept, as: 'v', cond: stays } }
  }
  return { $concatArrays: [kept, literal(added)] }
}
