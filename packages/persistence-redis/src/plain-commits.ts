import type { DispatchEntry, InstanceWrite, StoredInstance } from '@sayiir/persistence-core/adapter'
import { type ArgumentWriter, type Packed, pack } from './argument-writer.ts'
import type { Shard } from './layout.ts'
import { CLASS_LENGTH, classOf, placeOf } from './places.ts'
import { ALONE, ENDED_WITHIN, MAYBE_MORE, recordText } from './records.ts'
import { statusCharacter } from './statuses.ts'
import { endedScore, expectedOf, Requests } from './write-args.ts'

/** Bytes of an output that is kept beside the inputs, as in `scripts/results.lua`. */
const NEWEST_BYTES = 4000
/**
 * Bytes of the outputs that stand in the record of an instance that has completed: so most need no
 * entries of their own beside it, and to look through many records still takes little.
 */
const ENDED_BYTES = 512
const NOTHING = new Uint8Array(0)

/** A write that is a plain commit, see {@link asPlainCommit}. */
export interface PlainCommit extends InstanceWrite {
  readonly before: StoredInstance
  readonly holds: Required<NonNullable<InstanceWrite['holds']>>
  readonly commit: NonNullable<InstanceWrite['commit']>
}

/**
 * The write, if it is a plain commit whose output is small enough to be kept beside the inputs. Such
 * commits are checked and written together, with a fixed number of commands for all
 * (`scripts/commit.lua`), which takes the server a fraction of what changes one by one take it. What
 * the records can not tell is checked there.
 */
export function asPlainCommit(write: InstanceWrite): PlainCommit | null {
  const [result] = write.results
  return write.plain === 'commit' &&
    result !== undefined &&
    result.output.byteLength <= NEWEST_BYTES
    ? (write as PlainCommit)
    : null
}

/** What is worked out of each commit before any is written. */
interface Plan {
  readonly commit: PlainCommit
  /** Number of its request; 0: none. */
  readonly request: number
  readonly next: DispatchEntry | undefined
  /** The next task's place in the queue. */
  readonly place: string
  /** Whether the next task is claimed with it. */
  readonly takesOwn: boolean
  /** The final output, where it and the newest one stand in the record. */
  readonly within: Uint8Array | null
  /** The final output, where it stands apart. */
  readonly apart: Uint8Array | null
}

/** Arguments of `scripts/commit.lua` after the call's number. */
export function commitArguments(
  shard: Shard,
  agingIntervalMs: number,
  skipsOwnFailures: boolean,
  commits: readonly PlainCommit[],
): Packed {
  return pack((args) => pushCommits(args, shard, agingIntervalMs, skipsOwnFailures, commits))
}

/** Writes them; the keys. */
function pushCommits(
  args: ArgumentWriter,
  shard: Shard,
  agingIntervalMs: number,
  skipsOwnFailures: boolean,
  commits: readonly PlainCommit[],
): readonly string[] {
  const keys = shard.keys.slice()
  const requests = new Requests()
  const classes: string[] = []
  const plans: Plan[] = []
  let earliest = 0
  let latest = Number.MAX_SAFE_INTEGER
  let ended = 0
  let apartCount = 0
  let queued = 0
  let own = 0
  for (const commit of commits) {
    const { at, toleranceMs, after, claimNext } = commit
    if (at - toleranceMs > earliest) earliest = at - toleranceMs
    if (at + toleranceMs < latest) latest = at + toleranceMs
    const next = after.entries[0]
    const takesOwn = claimNext !== null && next !== undefined && claimNext.own === next.taskId
    let place = ''
    if (next !== undefined) {
      const { definitionHash } = after.head
      place = placeOf(next, definitionHash)
      const digest = place.slice(0, CLASS_LENGTH)
      if (!classes.includes(digest)) classes.push(digest, classOf(next, definitionHash))
      if (takesOwn) own += 1
      else queued += 1
    }
    let within: Uint8Array | null = null
    let apart: Uint8Array | null = null
    const { state } = after.head
    if (state.status === 'completed') {
      ended += 1
      const { finalOutput } = state
      const bytes = finalOutput.byteLength + (commit.results[0]?.output.byteLength ?? 0)
      if (bytes <= ENDED_BYTES) within = finalOutput
      else {
        apart = finalOutput
        apartCount += 1
      }
    }
    const request = claimNext === null ? 0 : requests.numberOf(claimNext.request)
    plans.push({ commit, request, next, place, takesOwn, within, apart })
  }
  args.small(commits.length)
  args.small(ended)
  args.small(apartCount)
  args.small(queued)
  args.small(own)
  args.whole(earliest)
  args.whole(latest)
  args.whole(agingIntervalMs)
  args.small(requests.count)
  pushChecks(args, commits)
  pushChanges(args, plans)
  for (const plan of plans) pushPlan(args, keys, shard, plan)
  for (const { commit, next, place, takesOwn } of plans) {
    if (!takesOwn || next === undefined) continue
    args.text(`${commit.instanceId}\0${next.taskId}`)
    args.text(place)
    args.text(next.taskId)
  }
  requests.write(args, skipsOwnFailures)
  for (const text of classes) args.text(text)
  return keys
}

/** What must be there. */
function pushChecks(args: ArgumentWriter, commits: readonly PlainCommit[]): void {
  for (const { instanceId } of commits) args.text(instanceId)
  for (const { instanceId, holds } of commits) args.text(`${instanceId}\0${holds.taskId}`)
  for (const { before } of commits) args.text(expectedOf(before))
  // What the value of the claim has after its times and its place.
  for (const { holds } of commits) args.text(`${holds.token}\0${holds.workerId}\0`)
}

/** What the commands write as it is. */
function pushChanges(args: ArgumentWriter, plans: readonly Plan[]): void {
  for (const { commit, takesOwn, within } of plans) {
    args.text(commit.instanceId)
    if (within === null) args.text(recordText(commit.after, takesOwn ? ALONE : MAYBE_MORE))
    else {
      const record = recordText(commit.after, ENDED_WITHIN)
      args.textAndBytes(`${record}\0${within.byteLength}\0`, within)
    }
  }
  for (const { commit } of plans) {
    const { head } = commit.after
    if (head.state.status !== 'completed') continue
    args.push(endedScore(head))
    args.text(commit.instanceId)
  }
  for (const { commit, apart } of plans) {
    if (apart === null) continue
    args.text(`${commit.instanceId}\0f`)
    args.bytes(apart)
  }
  for (const { commit, next, place, takesOwn } of plans) {
    if (takesOwn || next === undefined) continue
    args.text('0')
    args.text(`${place}${commit.instanceId}\0${next.taskId}`)
  }
}

function pushPlan(
  args: ArgumentWriter,
  keys: string[],
  shard: Shard,
  { commit, request, place, takesOwn, within }: Plan,
): void {
  const { instanceId, before, holds, results } = commit
  const { token, workerId, revision, status } = commit.commit
  args.small(request)
  args.small(takesOwn ? 1 : 0)
  // The newest output gives way to this one, unless this is the first.
  const first = before.head.state
  const isFirst = first.status === 'in-progress' && first.lastCompletedTaskId === null
  args.small(takesOwn || !isFirst ? keys.push(shard.results(instanceId)) : 0)
  args.text(place.slice(0, CLASS_LENGTH))
  const order = results[0]?.order ?? 0
  const value = `${order}\0${token}\0${workerId}\0${revision}${statusCharacter(status)}`
  if (takesOwn) {
    args.text(holds.taskId)
    args.text(value)
  } else {
    args.text(within === null ? `${instanceId}\0l` : '')
    args.text(`${holds.taskId}\0${value}`)
  }
  args.bytes(results[0]?.output ?? NOTHING)
}
