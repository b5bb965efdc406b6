import type { SnapshotHead, SnapshotSummary } from '@sayiir/persistence-core'
import {
  type DispatchEntry,
  decodeHead,
  encodeHead,
  type HeadColumns,
  type StoredInstance,
} from '@sayiir/persistence-core/adapter'
import type { StoredClaim } from './claims.ts'
import { CLASS_LENGTH, placeOf } from './places.ts'
import { statusCharacter, statusOf } from './statuses.ts'
import { unreadable } from './unreadable.ts'

/** Fields of a record before its entries. */
const HEAD_FIELDS = 11

/** What a record begins with where the instance has neither a newest output nor events beside it. */
export const ALONE = '-'
/** What it begins with where there may be such. */
export const MAYBE_MORE = '?'

/** What it begins with where it is followed by the final output and the newest one of an instance that has completed. */
export const ENDED_WITHIN = '.'

/** An instance as one value; entries without their claims. */
export function recordText(
  stored: StoredInstance,
  beside: typeof ALONE | typeof MAYBE_MORE | typeof ENDED_WITHIN,
): string {
  const { generation, version, head, entries, cancel, pause, queuedEvents } = stored
  const { definitionHash, revision, createdAt, updatedAt, state } = head
  const expected = expectedText(entries.length, generation, version)
  const columns = `${queuedEvents}\0${statusCharacter(state.status)}${revision}\0${createdAt}\0${updatedAt}\0${definitionHash}\0`
  const signals = `${textOf(cancel)}\0${textOf(pause)}\0`
  let text = `${beside}${expected}${columns}${signals}${signOf(head, entries) ?? encodeHead(head)}`
  for (const entry of entries) {
    const place = placeOf(entry, definitionHash)
    text += `\0${entry.taskId}\0${place}\0${entry.timer ? 't' : ''}\0${entryText(entry)}`
  }
  return text
}

function textOf(signal: StoredInstance['cancel']): string {
  return signal === null ? '' : JSON.stringify(signal)
}

/** What must be there of an instance that was read: its record begins with it after one character. */
export function expectedText(entryCount: number, generation: string, version: number): string {
  return `${entryCount}\0${generation}\0${version}\0`
}

/**
 * In place of the head of an instance that is at its only task, of which the entry tells: with the
 * priority left open, or that of the entry.
 */
const OPEN = '-'
const AS_ENTRY = '='
/** In place of the head of an instance that has completed; a priority that is not left open follows. */
const COMPLETED = '.'

/** What stands in place of the head, as it does of most; null: the head itself. */
function signOf(head: SnapshotHead, entries: readonly DispatchEntry[]): string | null {
  const { state, priority } = head
  if (
    head.tags.length > 0 ||
    head.deadline !== null ||
    head.traceParent !== null ||
    head.retries.size > 0 ||
    head.loopIterations.size > 0
  ) {
    return null
  }
  if (state.status === 'completed') return `${COMPLETED}${priority ?? ''}`
  const entry = entries[0]
  if (
    state.status !== 'in-progress' ||
    state.position.kind !== 'at-task' ||
    entry === undefined ||
    entries.length > 1 ||
    entry.taskId !== state.position.taskId ||
    entry.inputTaskId !== state.lastCompletedTaskId
  ) {
    return null
  }
  if (priority === null) return OPEN
  return priority === entry.priority ? AS_ENTRY : null
}

/**
 * Priority, attempt, task that the input is of, worker that failed it last, tags. Where there is
 * neither of the latter two: the priority's digit, the attempt and, after a colon, the task.
 */
function entryText({
  priority,
  attempt,
  inputTaskId,
  lastFailedWorker,
  tags,
}: DispatchEntry): string {
  if (tags.length > 0 || lastFailedWorker !== null) {
    return JSON.stringify([priority, attempt, inputTaskId, lastFailedWorker, tags])
  }
  return inputTaskId === null ? `${priority}${attempt}` : `${priority}${attempt}:${inputTaskId}`
}

type EntryFields = readonly [
  priority: number,
  attempt: number,
  inputTaskId: string | null,
  lastFailedWorker: string | null,
  tags: readonly string[],
]

function readEntry(text: string): EntryFields {
  if (text.startsWith('[')) return JSON.parse(text)
  const colon = text.indexOf(':')
  const numbers = colon < 0 ? text : text.slice(0, colon)
  const inputTaskId = colon < 0 ? null : text.slice(colon + 1)
  return [Number(numbers.charAt(0)), Number(numbers.slice(1)), inputTaskId, null, NO_TAGS]
}

const NO_TAGS: readonly string[] = []
/** Of all that have none: what is kept is copied before it is handed out, and maps are large. */
const NOTHING: ReadonlyMap<string, never> = new Map<string, never>()

/** The payloads of an instance that stand beside its record. */
export interface Payloads {
  readonly initialInput: Uint8Array | null
  readonly finalOutput: Uint8Array | null
}

/**
 * An instance from its record and the claims of its entries, in their order.
 *
 * @throws `SERIALIZATION`, `SCHEMA`.
 */
export function decodeInstance(
  instanceId: string,
  record: string,
  claims: readonly (StoredClaim | null)[],
  { initialInput, finalOutput }: Payloads,
): StoredInstance {
  const fields = record.split('\0')
  const definitionHash = fields[7] ?? ''
  const status = fields[4] ?? ''
  const cancel = fields[8]
  const pause = fields[9]
  const text = fields[10] ?? ''
  try {
    const entries = decodeEntries(fields, claims)
    const columns: HeadColumns = {
      instanceId,
      definitionHash,
      revision: Number(status.slice(1)),
      createdAt: Number(fields[5]),
      updatedAt: Number(fields[6]),
      initialInput,
      finalOutput,
    }
    return {
      generation: fields[1] ?? '',
      version: Number(fields[2]),
      head: decodeHeadOr(text, columns, entries[0]),
      entries,
      cancel: cancel ? JSON.parse(cancel) : null,
      pause: pause ? JSON.parse(pause) : null,
      queuedEvents: Number(fields[3]),
    }
  } catch (error) {
    throw unreadable(instanceId, error)
  }
}

/** The head from what stands for it, see `signOf`, or itself. */
function decodeHeadOr(
  text: string,
  columns: HeadColumns,
  entry: DispatchEntry | undefined,
): SnapshotHead {
  if (text.startsWith(COMPLETED)) {
    const { finalOutput } = columns
    if (finalOutput === null) throw new TypeError('the final output is missing')
    const priority = text.length > COMPLETED.length ? Number(text.slice(COMPLETED.length)) : null
    return plainHead(columns, { status: 'completed', finalOutput }, priority)
  }
  if (text !== OPEN && text !== AS_ENTRY) return decodeHead(text, columns)
  if (entry === undefined) throw new TypeError('the task that it is at is missing')
  const position = { kind: 'at-task', taskId: entry.taskId } as const
  return plainHead(
    columns,
    { status: 'in-progress', position, lastCompletedTaskId: entry.inputTaskId },
    text === OPEN ? null : entry.priority,
  )
}

function plainHead(
  { instanceId, definitionHash, revision, createdAt, updatedAt, initialInput }: HeadColumns,
  state: SnapshotHead['state'],
  priority: number | null,
): SnapshotHead {
  return {
    instanceId,
    definitionHash,
    revision,
    createdAt,
    updatedAt,
    initialInput,
    state,
    priority,
    tags: NO_TAGS,
    deadline: null,
    retries: NOTHING,
    loopIterations: NOTHING,
    traceParent: null,
  }
}

function decodeEntries(
  fields: readonly string[],
  claims: readonly (StoredClaim | null)[],
): DispatchEntry[] {
  const entries: DispatchEntry[] = []
  for (let from = HEAD_FIELDS; from < fields.length; from += 4) {
    const [priority, attempt, inputTaskId, lastFailedWorker, tags] = readEntry(
      fields[from + 3] ?? '',
    )
    const claim = claims[entries.length] ?? null
    entries.push({
      taskId: fields[from] ?? '',
      priority,
      tags,
      attempt,
      lastFailedWorker,
      availableSince: Number.parseInt((fields[from + 1] ?? '').slice(CLASS_LENGTH), 36),
      inputTaskId,
      deliveries: claim?.deliveries ?? 0,
      timer: fields[from + 2] === 't',
      claim: claim?.held ?? null,
    })
  }
  return entries
}

/** The summary that a record begins with. */
export function decodeSummary(instanceId: string, start: Buffer): SnapshotSummary {
  const [, , , , status = '', createdAt, updatedAt, definitionHash = ''] = start
    .toString()
    .split('\0')
  return {
    instanceId,
    definitionHash,
    status: statusOf(status.charAt(0)),
    revision: Number(status.slice(1)),
    createdAt: Number(createdAt),
    updatedAt: Number(updatedAt),
  }
}

/** An instance id and a task id from an entry key. */
export function splitKey(key: string): { instanceId: string; taskId: string } {
  const end = key.indexOf('\0')
  return { instanceId: key.slice(0, end), taskId: key.slice(end + 1) }
}
