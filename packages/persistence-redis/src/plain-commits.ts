import { type InstanceWrite, isOpen, type StoredInstance } from '@sayiir/persistence-core/adapter'
import type { ArgumentWriter } from './argument-writer.ts'
import type { Shard } from './layout.ts'
import { CLASS_LENGTH, classOf, placeOf } from './places.ts'
import { recordText } from './records.ts'
import { statusCharacter } from './statuses.ts'
import { endedScore, expectedOf, Requests } from './write-args.ts'

/** Bytes of an output that is kept beside the inputs, as in `scripts/results.lua`. */
const NEWEST_BYTES = 4000
const NOTHING = new Uint8Array(0)

/** A write that is a plain commit, see {@link asPlainCommit}. */
export interface PlainCommit extends InstanceWrite {
  readonly before: StoredInstance
  readonly holds: Required<NonNullable<InstanceWrite['holds']>>
  readonly commit: NonNullable<InstanceWrite['commit']>
}

/**
 * The write, if it is what most are: the commit of the only task of an instance that is open, with
 * one output, after which there is one task at most, or the end. Such commits are checked and
 * written together, with a fixed number of commands for all (`scripts/commit.lua`), which takes the
 * server a fraction of what changes one by one take it. What the records can not tell is checked
 * there.
 */
export function asPlainCommit(write: InstanceWrite): PlainCommit | null {
  const { before, after, holds, commit, entries, results, removedResults } = write
  if (before === null || commit === null || holds?.token === undefined) return null
  if (write.event !== null || write.takenEvent !== null) return null
  const { taskId } = holds
  const [result, ...others] = results
  if (result?.taskId !== taskId || commit.taskId !== taskId || others.length > 0) return null
  if (result.output.byteLength > NEWEST_BYTES || removedResults.length > 0) return null
  if (before.entries.length !== 1 || before.entries[0]?.taskId !== taskId) return null
  if (entries.moved.length > 0 || entries.released.length > 0) return null
  if (!isOpen(before) || before.head.initialInput !== after.head.initialInput) return null
  const [next] = after.entries
  if (next === undefined) {
    const { status } = after.head.state
    // What waits for a signal is open, too, without a task.
    if (status !== 'completed' && !(status === 'in-progress' && isOpen(after))) return null
  } else if (
    after.entries.length > 1 ||
    next.taskId === '' ||
    !isOpen(after) ||
    entries.added.length !== 1
  ) {
    return null
  }
  return write as PlainCommit
}

/** Arguments of `scripts/commit.lua` after the call's number. */
export function commitArguments(
  args: ArgumentWriter,
  shard: Shard,
  agingIntervalMs: number,
  skipsOwnFailures: boolean,
  commits: readonly PlainCommit[],
): { readonly keys: readonly string[]; readonly message: Buffer } {
  const keys = shard.keys.slice()
  const requests = new Requests()
  const classes: string[] = []
  let earliest = 0
  let latest = Number.MAX_SAFE_INTEGER
  let lastClass = ''
  args.start()
  args.small(commits.length)
  for (let index = 0; index < commits.length; index += 1) {
    const commit = commits[index] as PlainCommit
    const { at, toleranceMs, after, claimNext } = commit
    if (at - toleranceMs > earliest) earliest = at - toleranceMs
    if (at + toleranceMs < latest) latest = at + toleranceMs
    const next = after.entries[0]
    let place = ''
    if (next !== undefined) {
      const { definitionHash } = after.head
      place = placeOf(next, definitionHash)
      const digest = place.slice(0, CLASS_LENGTH)
      if (digest !== lastClass && !classes.includes(digest)) {
        classes.push(digest, classOf(next, definitionHash))
      }
      lastClass = digest
    }
    const request = claimNext === null ? 0 : requests.numberOf(claimNext.request)
    pushCommit(args, keys, shard, commit, place, request)
  }
  args.number(earliest)
  args.number(latest)
  args.number(agingIntervalMs)
  requests.write(args, skipsOwnFailures)
  for (const text of classes) args.text(text)
  return { keys, message: args.finish() }
}

function pushCommit(
  args: ArgumentWriter,
  keys: string[],
  shard: Shard,
  { instanceId, before, after, holds, results, commit, claimNext }: PlainCommit,
  place: string,
  request: number,
): void {
  const { head } = after
  const next = after.entries[0]
  const takesOwn = claimNext !== null && next !== undefined && claimNext.own === next.taskId
  args.text(instanceId)
  args.text(expectedOf(before))
  args.text(holds.taskId)
  // What the value of the claim has after its times and its place.
  args.text(`${holds.token}\0${holds.workerId}\0`)
  args.text(recordText(after))
  args.text(next === undefined ? '' : next.taskId)
  args.text(place)
  args.small(request)
  args.small(takesOwn ? 1 : 0)
  if (head.state.status === 'completed') {
    args.number(endedScore(head))
    args.bytes(head.state.finalOutput)
  } else {
    args.text('')
    args.text('')
  }
  const result = results[0]
  args.number(result === undefined ? 0 : result.order)
  args.text(`${commit.revision}${statusCharacter(commit.status)}`)
  args.bytes(result === undefined ? NOTHING : result.output)
  // The newest output gives way to this one, unless this is the first.
  const first = before.head.state
  const isFirst = first.status === 'in-progress' && first.lastCompletedTaskId === null
  args.small(takesOwn || !isFirst ? keys.push(shard.results(instanceId)) : 0)
}
