import type { SnapshotHead, SnapshotSummary } from '@sayiir/persistence-core'
import {
  type DispatchEntry,
  decodeHead,
  encodeHead,
  type HeadColumns,
  type StoredInstance,
} from '@sayiir/persistence-core/adapter'
import type { StoredClaim } from './claims.ts'
import { CLASS_LENGTH, digestOf, sinceText } from './places.ts'
import { statusCharacter, statusOf } from './statuses.ts'
import { unreadable } from './unreadable.ts'

/** Fields of a record before its entries. */
const HEAD_FIELDS = 11

/** Where a record is written to, part by part: what is put together first costs more. */
interface Parts {
  raw(text: string): void
  /** A whole number, 0 or more. */
  digits(value: number): void
  zero(): void
}

/** Writes an instance as one value; entries without their claims. */
export function writeRecord(
  to: Parts,
  { generation, version, head, entries, cancel, pause, queuedEvents }: StoredInstance,
): void {
  const { definitionHash, revision, createdAt, updatedAt, state } = head
  writeExpected(to, entries.length, generation, version)
  to.digits(queuedEvents)
  to.zero()
  to.raw(statusCharacter(state.status))
  to.digits(revision)
  to.zero()
  to.digits(createdAt)
  to.zero()
  to.digits(updatedAt)
  to.zero()
  to.raw(definitionHash)
  to.zero()
  if (cancel !== null) to.raw(JSON.stringify(cancel))
  to.zero()
  if (pause !== null) to.raw(JSON.stringify(pause))
  to.zero()
  const sign = signOf(head, entries)
  if (sign === null) to.raw(encodeHead(head))
  else to.raw(sign)
  for (const entry of entries) {
    to.zero()
    to.raw(entry.taskId)
    to.zero()
    writePlace(to, entry, definitionHash)
    to.zero()
    if (entry.timer) to.raw('t')
    to.zero()
    writeEntry(to, entry)
  }
}

/** Writes what must be there of an instance that was read: the record begins with it. */
export function writeExpected(
  to: Parts,
  entryCount: number,
  generation: string,
  version: number,
): void {
  to.digits(entryCount)
  to.zero()
  to.raw(generation)
  to.zero()
  to.digits(version)
  to.zero()
}

/** Writes a task's place in the queue, see {@link placeOf}. */
function writePlace(to: Parts, entry: DispatchEntry, definitionHash: string): void {
  to.raw(digestOf(entry, definitionHash))
  to.raw(sinceText(entry.availableSince))
}

/**
 * In place of the head of an instance that is at its only task, of which the entry tells: with the
 * priority left open, or that of the entry.
 */
const OPEN = '-'
const AS_ENTRY = '='
/** In place of the head of an instance that has completed. */
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
  if (state.status === 'completed') return priority === null ? COMPLETED : null
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
function writeEntry(
  to: Parts,
  { priority, attempt, inputTaskId, lastFailedWorker, tags }: DispatchEntry,
): void {
  if (tags.length > 0 || lastFailedWorker !== null) {
    to.raw(JSON.stringify([priority, attempt, inputTaskId, lastFailedWorker, tags]))
    return
  }
  to.digits(priority)
  to.digits(attempt)
  if (inputTaskId === null) return
  to.raw(':')
  to.raw(inputTaskId)
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
  if (text === COMPLETED) {
    const { finalOutput } = columns
    if (finalOutput === null) throw new TypeError('the final output is missing')
    return plainHead(columns, { status: 'completed', finalOutput }, null)
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
    tags: [],
    deadline: null,
    retries: new Map(),
    loopIterations: new Map(),
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
