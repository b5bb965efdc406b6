import type { EndedStatus, SnapshotHead, WorkerFilter } from '@sayiir/persistence-core'
import {
  type ClaimRequest,
  type DispatchEntry,
  ENDED_STATUSES,
  type InstanceWrite,
  isEnded,
  isOpen,
  type StoredInstance,
} from '@sayiir/persistence-core/adapter'
import { type ArgumentWriter, type Packed, pack } from './argument-writer.ts'
import type { Shard } from './layout.ts'
import { classOf, placeOf } from './places.ts'
import { expectedText, MAYBE_MORE, recordText } from './records.ts'
import { statusCharacter } from './statuses.ts'

/** Scores of ended instances are divided by status; a time is always less. */
export const STATUS_STEP: number = 2 ** 49

/** The lowest score of an ended status; the first that is not one of its is `STATUS_STEP` more. */
export function endedFrom(status: EndedStatus): number {
  return ENDED_STATUSES.indexOf(status) * STATUS_STEP
}

/** Where an instance that has ended stands among those that have. */
export function endedScore({ state, updatedAt }: SnapshotHead): number {
  return isEnded(state.status) ? endedFrom(state.status) + updatedAt : 0
}

/** What a worker serves, as scripts read it. */
export function pushFilter(
  args: { push(...values: (string | number)[]): unknown },
  { tags, definitionHashes }: WorkerFilter,
): void {
  for (const wanted of [tags, definitionHashes]) {
    if (wanted === undefined) args.push('')
    else args.push(wanted.length, ...wanted)
  }
}

/** Searches for work that several writes ask for, each once. */
export class Requests {
  readonly #requests: ClaimRequest[] = []

  /** Its number, from 1. */
  numberOf(request: ClaimRequest): number {
    const requests = this.#requests
    // As a rule all are of one worker.
    for (let index = 0; index < requests.length; index += 1) {
      if (isSameSearch(requests[index] as ClaimRequest, request)) return index + 1
    }
    return requests.push(request)
  }

  /** How many there are. */
  get count(): number {
    return this.#requests.length
  }

  /** Writes what they ask for. */
  write(args: ArgumentWriter, skipsOwnFailures: boolean): void {
    for (const { workerId, ttlMs, filter } of this.#requests) {
      args.push(workerId, ttlMs ?? '', skipsOwnFailures ? '1' : '')
      pushFilter(args, filter)
    }
  }
}

/** Whether two are alike but for their limits. */
export function isSameSearch(a: ClaimRequest, b: ClaimRequest): boolean {
  return (
    a.workerId === b.workerId &&
    a.ttlMs === b.ttlMs &&
    isSameList(a.filter.tags, b.filter.tags) &&
    isSameList(a.filter.definitionHashes, b.filter.definitionHashes)
  )
}

function isSameList(a: readonly string[] | undefined, b: readonly string[] | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return a.length === b.length && a.every((one, index) => one === b[index])
}

/** Arguments of `scripts/write.lua` after the call's number. */
export function writeArguments(
  shard: Shard,
  agingIntervalMs: number,
  skipsOwnFailures: boolean,
  writes: readonly InstanceWrite[],
): Packed {
  return pack((args) => pushWrites(args, shard, agingIntervalMs, skipsOwnFailures, writes))
}

/** Writes them; the keys. */
function pushWrites(
  args: ArgumentWriter,
  shard: Shard,
  agingIntervalMs: number,
  skipsOwnFailures: boolean,
  writes: readonly InstanceWrite[],
): readonly string[] {
  const keys = [...shard.keys]
  args.push(agingIntervalMs)
  const requests = new Requests()
  for (const { claimNext } of writes) if (claimNext !== null) requests.numberOf(claimNext.request)
  args.small(requests.count)
  requests.write(args, skipsOwnFailures)
  args.push(writes.length)
  for (const write of writes) {
    const { claimNext } = write
    pushWrite(
      args,
      keys,
      shard,
      write,
      claimNext === null ? 0 : requests.numberOf(claimNext.request),
    )
  }
  return keys
}

function pushWrite(
  args: ArgumentWriter,
  keys: string[],
  shard: Shard,
  write: InstanceWrite,
  request: number,
): void {
  const { instanceId, before, after, holds, claimNext } = write
  const { status } = after.head.state
  const hasEnded = isEnded(status)
  args.text(instanceId)
  args.text(expectedOf(before))
  args.push(write.at, write.toleranceMs)
  args.push(holds?.workerId ?? '', holds?.taskId ?? '', holds?.token ?? '')
  args.text(recordText(after, MAYBE_MORE))
  args.text(isOpen(after) ? '1' : '')
  args.push(keys.push(shard.results(instanceId)))
  const usesEvents = write.event !== null || write.takenEvent !== null
  args.push(usesEvents || (hasEnded && before !== null) ? keys.push(shard.events(instanceId)) : 0)
  args.push(request)
  if (claimNext !== null) {
    const own = after.entries.find(({ taskId }) => taskId === claimNext.own)
    args.push(own?.taskId ?? '', own === undefined ? '' : placeOf(own, after.head.definitionHash))
  }
  pushEntryChanges(args, write)
  args.push(
    hasEnded ? endedScore(after.head) : '',
    pausedChange(before, after),
    signalChange(before, after),
  )
  pushPayloads(args, before, after)
  pushResults(args, write)
}

/** What must be there; '' for nothing. */
export function expectedOf(before: StoredInstance | null): string {
  return before === null
    ? ''
    : expectedText(before.entries.length, before.generation, before.version)
}

/** Of each entry that changes its place in the queue, or may be put there or taken away. */
function pushEntryChanges(args: ArgumentWriter, { before, after, entries }: InstanceWrite): void {
  const changes: (readonly string[])[] = []
  const push = (...change: readonly string[]): void => {
    changes.push(change)
  }
  const place = (entry: DispatchEntry, of: StoredInstance): string =>
    placeOf(entry, of.head.definitionHash)
  const stored = new Map(before?.entries.map((entry) => [entry.taskId, entry]))
  const remove = (taskId: string): void => {
    const entry = stored.get(taskId)
    if (entry !== undefined && before !== null) push('r', taskId, place(entry, before))
    stored.delete(taskId)
  }
  for (const taskId of entries.removed) remove(taskId)
  for (const entry of entries.added) {
    remove(entry.taskId)
    push('a', entry.taskId, place(entry, after), classOf(entry, after.head.definitionHash))
  }
  if (stored.size > 0 && before !== null) {
    const released = new Set(entries.released)
    const opens = isOpen(after)
    const stays = isOpen(before) === opens
    for (const entry of after.entries) {
      const old = stored.get(entry.taskId)
      if (old === undefined) continue
      const { taskId } = entry
      const from = place(old, before)
      const to = place(entry, after)
      if (from !== to || released.has(taskId)) {
        const text = classOf(entry, after.head.definitionHash)
        push('m', taskId, from, to, text, released.has(taskId) ? '1' : '')
      } else if (!stays) push(opens ? 'o' : 'c', taskId, from)
    }
  }
  args.push(changes.length)
  for (const change of changes) args.push(...change)
}

function pausedChange(before: StoredInstance | null, after: StoredInstance): string {
  const was = before?.head.state.status === 'paused'
  const is = after.head.state.status === 'paused'
  return was === is ? '' : is ? '1' : '-1'
}

function signalChange(before: StoredInstance | null, after: StoredInstance): string {
  if (after.cancel !== null || after.pause !== null) return '1'
  return before !== null && (before.cancel !== null || before.pause !== null) ? '0' : ''
}

function pushPayloads(
  args: ArgumentWriter,
  before: StoredInstance | null,
  { head }: StoredInstance,
): void {
  const old = before?.head.initialInput ?? null
  const input = head.initialInput
  if (input === old || (input !== null && old !== null && Buffer.compare(input, old) === 0)) {
    args.push('')
  } else if (input === null) args.push('0')
  else {
    args.push('1')
    args.bytes(input)
  }
  if (head.state.status === 'completed') {
    args.push('1')
    args.bytes(head.state.finalOutput)
  } else args.push('')
}

function pushResults(
  args: ArgumentWriter,
  { removedResults, results, takenEvent, event, commit }: InstanceWrite,
): void {
  if (removedResults === 'all') args.push('all')
  else {
    args.push(removedResults.length)
    for (const taskId of removedResults) args.text(taskId)
  }
  args.push(results.length)
  for (const { taskId, order, output } of results) {
    args.push(taskId, order)
    args.bytes(output)
  }
  args.push(takenEvent ?? '', event?.signalName ?? '')
  if (event !== null) {
    args.push(event.eventId ?? '')
    if (event.payload === null) args.push('')
    else {
      args.push('1')
      args.bytes(event.payload)
    }
  }
  args.push(commit?.taskId ?? '')
  if (commit !== null) {
    args.push(commit.token, `${commit.revision}${statusCharacter(commit.status)}`, commit.workerId)
  }
}
