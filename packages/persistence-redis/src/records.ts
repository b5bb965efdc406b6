import { createHash } from 'node:crypto'
import { BackendError, type InstanceStatus, type SnapshotSummary } from '@sayiir/persistence-core'
import {
  type CommitRecord,
  type DispatchEntry,
  decodeHead,
  encodeHead,
  type HeldClaim,
  type StoredInstance,
} from '@sayiir/persistence-core/adapter'

/** Statuses by the character that stands for them. */
const STATUSES: Readonly<Record<string, InstanceStatus>> = {
  i: 'in-progress',
  p: 'paused',
  c: 'completed',
  f: 'failed',
  x: 'cancelled',
}
const STATUS_CHARACTERS = Object.fromEntries(
  Object.entries(STATUSES).map(([character, status]) => [status, character]),
) as Readonly<Record<InstanceStatus, string>>

/** Fields of a record before its entries. */
const HEAD_FIELDS = 11
const CLASS_LENGTH = 12
const KNOWN_CLASSES = 4096

/** A status as one character. */
export function statusCharacter(status: InstanceStatus): string {
  return STATUS_CHARACTERS[status]
}

/** What tells tasks apart that a worker may or may not take, or in another order. */
export function classOf(
  {
    priority,
    lastFailedWorker,
    tags,
  }: Pick<DispatchEntry, 'priority' | 'lastFailedWorker' | 'tags'>,
  definitionHash: string,
): string {
  const base = `${priority}\0${lastFailedWorker ?? ''}\0${definitionHash}`
  return tags.length === 0 ? base : `${base}\0${tags.toSorted().join('\0')}`
}

const digests = new Map<string, string>()

/** A task's place in the queue: its class, then when it becomes available. */
export function placeOf(entry: DispatchEntry, definitionHash: string): string {
  const text = classOf(entry, definitionHash)
  let digest = digests.get(text)
  if (digest === undefined) {
    digest = createHash('sha256').update(text).digest('base64url').slice(0, CLASS_LENGTH)
    if (digests.size === KNOWN_CLASSES) digests.clear()
    digests.set(text, digest)
  }
  return digest + entry.availableSince.toString(36).padStart(10, '0')
}

/** An instance as one value; entries without their claims. */
export function encodeInstance({
  generation,
  version,
  head,
  entries,
  cancel,
  pause,
  queuedEvents,
}: StoredInstance): string {
  const { definitionHash, revision, createdAt, updatedAt, state } = head
  let record = `${entries.length}\0${generation}\0${version}\0${queuedEvents}\0${statusCharacter(state.status)}${revision}\0${createdAt}\0${updatedAt}\0${definitionHash}\0${cancel === null ? '' : JSON.stringify(cancel)}\0${pause === null ? '' : JSON.stringify(pause)}\0${encodeHead(head)}`
  for (const entry of entries) {
    record += `\0${entry.taskId}\0${placeOf(entry, definitionHash)}\0${entry.timer ? 't' : ''}\0${encodeEntry(entry)}`
  }
  return record
}

/** What must be there of an instance that was read: the record begins with it. */
export function expectedOf({ generation, version, entries }: StoredInstance): string {
  return `${entries.length}\0${generation}\0${version}\0`
}

/** Priority, attempt, task that the input is of, worker that failed it last, tags; without defaults at the end. */
function encodeEntry({
  priority,
  attempt,
  inputTaskId,
  lastFailedWorker,
  tags,
}: DispatchEntry): string {
  if (tags.length > 0)
    return JSON.stringify([priority, attempt, inputTaskId, lastFailedWorker, tags])
  if (lastFailedWorker !== null)
    return JSON.stringify([priority, attempt, inputTaskId, lastFailedWorker])
  return inputTaskId === null
    ? `[${priority},${attempt}]`
    : `[${priority},${attempt},${JSON.stringify(inputTaskId)}]`
}

type EntryFields = readonly [
  priority: number,
  attempt: number,
  inputTaskId?: string | null,
  lastFailedWorker?: string | null,
  tags?: readonly string[],
]

/** The payloads of an instance that stand beside its record. */
export interface Payloads {
  readonly initialInput: Buffer | null
  readonly finalOutput: Buffer | null
}

/**
 * An instance from its record and the claims of its entries, in their order.
 *
 * @throws `SERIALIZATION`, `SCHEMA`.
 */
export function decodeInstance(
  instanceId: string,
  record: Buffer,
  claims: readonly (Buffer | null)[],
  payloads: Payloads,
): StoredInstance {
  const fields = record.toString().split('\0')
  const [, generation = '', version, queued, status = '', createdAt, updatedAt] = fields
  const [definitionHash = '', cancel, pause, head = ''] = fields.slice(7)
  try {
    return {
      generation,
      version: Number(version),
      head: decodeHead(head, {
        instanceId,
        definitionHash,
        revision: Number(status.slice(1)),
        createdAt: Number(createdAt),
        updatedAt: Number(updatedAt),
        initialInput: toBytesOrNull(payloads.initialInput),
        finalOutput: toBytesOrNull(payloads.finalOutput),
      }),
      entries: decodeEntries(fields, claims),
      cancel: cancel ? JSON.parse(cancel) : null,
      pause: pause ? JSON.parse(pause) : null,
      queuedEvents: Number(queued),
    }
  } catch (error) {
    throw unreadable(instanceId, error)
  }
}

function decodeEntries(
  fields: readonly string[],
  claims: readonly (Buffer | null)[],
): DispatchEntry[] {
  const entries: DispatchEntry[] = []
  for (let from = HEAD_FIELDS; from < fields.length; from += 4) {
    const [taskId = '', place = '', flag, rest = ''] = fields.slice(from, from + 4)
    const [priority, attempt, inputTaskId, lastFailedWorker, tags]: EntryFields = JSON.parse(rest)
    const claim = decodeClaim(claims[entries.length] ?? null)
    entries.push({
      taskId,
      priority,
      tags: tags ?? [],
      attempt,
      lastFailedWorker: lastFailedWorker ?? null,
      availableSince: Number.parseInt(place.slice(CLASS_LENGTH), 36),
      inputTaskId: inputTaskId ?? null,
      deliveries: claim?.deliveries ?? 0,
      timer: flag === 't',
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
    status: STATUSES[status.charAt(0)] as InstanceStatus,
    revision: Number(status.slice(1)),
    createdAt: Number(createdAt),
    updatedAt: Number(updatedAt),
  }
}

/** What is stored of an entry's claims. */
export interface StoredClaim {
  /** Of the last claim, whatever became of it. */
  readonly lastToken: number
  readonly deliveries: number
  /** Null: given up. */
  readonly held: HeldClaim | null
}

/** A claim from its value; null if there never was one. */
export function decodeClaim(value: Buffer | null): StoredClaim | null {
  if (value === null || value.length === 0) return null
  const [token, deliveries, expiresAt, claimedAt, workerId = ''] = value.toString().split('\0')
  const lastToken = Number(token)
  return {
    lastToken,
    deliveries: Number(deliveries),
    held:
      workerId === ''
        ? null
        : {
            workerId,
            token: lastToken,
            claimedAt: Number(claimedAt),
            expiresAt: expiresAt === '' ? null : Number(expiresAt),
          },
  }
}

/** A result and the last commit of its task, as they are stored together. */
export interface StoredOutcome {
  /** Null: there is no output. */
  readonly order: number | null
  readonly output: Uint8Array
  readonly commit: CommitRecord | null
}

/** The newest output with the task that it is of, or null. */
export function splitNewest(value: Buffer | null): { taskId: string; value: Buffer } | null {
  if (value === null) return null
  const end = value.indexOf(0)
  return { taskId: value.toString('utf8', 0, end), value: value.subarray(end + 1) }
}

/** See `scripts/results.lua`. */
export function decodeOutcome(instanceId: string, value: Buffer): StoredOutcome {
  let from = 0
  const field = (): string => {
    const end = value.indexOf(0, from)
    if (end < 0) throw unreadable(instanceId, new TypeError('a result is cut off'))
    const text = value.toString('utf8', from, end)
    from = end + 1
    return text
  }
  const order = field()
  const token = field()
  let commit: CommitRecord | null = null
  if (token !== '') {
    const state = field()
    const workerId = field()
    const sign = state.at(-1)
    commit = {
      workerId,
      token: Number(token),
      revision: Number(state.slice(0, -2)),
      status: STATUSES[state.at(-2) ?? ''] as InstanceStatus,
      next:
        sign === '-'
          ? null
          : {
              instanceId: sign === '+' ? field() : instanceId,
              taskId: field(),
              token: Number(field()),
            },
    }
  }
  return {
    order: order === '' ? null : Number(order),
    output: toBytes(value.subarray(from)),
    commit,
  }
}

/** Bytes of a reply as a caller gets them: on their own, not a view of what came over the wire. */
function toBytes(value: Buffer): Uint8Array {
  return new Uint8Array(value)
}

/** The same of what may be missing. */
export function toBytesOrNull(value: Buffer | null): Uint8Array | null {
  return value === null ? null : toBytes(value)
}

/** An instance id and a task id from an entry key. */
export function splitKey(key: Buffer): { instanceId: string; taskId: string } {
  const text = key.toString()
  const end = text.indexOf('\0')
  return { instanceId: text.slice(0, end), taskId: text.slice(end + 1) }
}

function unreadable(instanceId: string, cause: unknown): BackendError {
  if (BackendError.is(cause)) return cause
  const message = `what is stored of the instance can not be read: ${(cause as Error).message}`
  return new BackendError('SERIALIZATION', message, { cause, instanceId })
}
