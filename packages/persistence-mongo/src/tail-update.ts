import type { InstanceWrite } from '@sayiir/persistence-core/adapter'
import { literal } from './expressions.ts'
import type { CommitDoc, ResultDoc } from './records.ts'

/** What a write does to the results, of which the newest are in the document. */
export function resultSets(
  { after, removedResults, results }: InstanceWrite,
  packed: readonly ResultDoc[],
): Record<string, unknown> {
  const sets: Record<string, unknown> = {}
  const last = results.at(-1)
  if (last !== undefined) sets.lo = last.order
  if (removedResults === 'all') {
    return { ...sets, l: literal(packed), rg: after.version, rv: [] }
  }
  const replaced = [...removedResults, ...results.map(({ taskId }) => taskId)]
  if (replaced.length === 0) return sets
  const stays = { $not: [{ $in: ['$$v.t', literal(replaced)] }] }
  sets.l = {
    $concatArrays: [{ $filter: { input: '$l', as: 'v', cond: stays } }, literal(packed)],
  }
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
  const stays = { $not: [{ $in: ['$$v.t', literal(forgotten)] }] }
  sets.cm = {
    $concatArrays: [{ $filter: { input: '$cm', as: 'v', cond: stays } }, literal([record])],
  }
  return sets
}
