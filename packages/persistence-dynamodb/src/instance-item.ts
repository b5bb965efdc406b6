import type { AttributeValue } from '@aws-sdk/client-dynamodb'
import type { InstanceStatus } from '@sayiir/persistence-core'
import type {
  CommitRecord,
  DispatchEntry,
  HeldClaim,
  StoredInstance,
} from '@sayiir/persistence-core/adapter'
import type { Attributes } from './expressions.ts'
import { unpack } from './packing.ts'
import { ofInstance, unreadable } from './unreadable.ts'

/** Tells the time. */
export interface Clock {
  /** Epoch milliseconds. */
  now(): number
}

/**
 * An instance's own item as it was read or written: attributes of short names, because their
 * lengths are paid for.
 *
 * | | |
 * | --- | --- |
 * | `w` | names of the last writes, the newest first: what every write compares, and knows itself by |
 * | `z` | only a tombstone: the life that was deleted |
 * | `g`, `v` | generation and version, as the engine counts |
 * | `x`, `y` | names of the life, and of the set of results within it: parts of the keys of items beside |
 * | `k` | the last token of a claim |
 * | `st`, `dh`, `r`, `ca`, `ua` | status, definition, revision, created, updated |
 * | `t` | head record |
 * | `ii`, `fo` | initial input, final output (`ft`: it is that task's output) |
 * | `e`, `c` | dispatch entries, and their claims |
 * | `sg`, `q` | control signals, count of queued events |
 * | `tl` | the newest results and commits, until they are moved to items of their own |
 * | `hr`, `he` | whether there are items of results, of events |
 * | `mk` | markers: see `markers.ts` |
 * | `wp`, `ws` | keys of the index |
 * | `l` | the shard of its entry in the directory |
 *
 * `t`, `e`, `c`, `sg`, `ii`, `fo`, `tl` with a `b` behind are references to bodies. Most of them are stored as
 * one, `i`, and all of them as `o` while a small instance waits for a worker: see `packing.ts`.
 */
export class InstanceItem {
  readonly instanceId: string
  readonly attributes: Attributes
  /** As the table has it: most attributes packed into one. */
  readonly stored: Attributes
  /** Decoded, once somebody wanted it. */
  state: Promise<State> | null = null

  constructor(instanceId: string, stored: Attributes, attributes?: Attributes) {
    this.instanceId = instanceId
    this.stored = stored
    this.attributes = attributes ?? ofInstance(instanceId, () => unpack(stored))
  }

  /** Names of the last writes. */
  get writes(): string {
    return this.attributes.w?.S ?? ''
  }

  /** The name of the last write. */
  get lastWrite(): string {
    return this.writes.slice(0, WRITE_NAME)
  }

  get isTombstone(): boolean {
    return this.attributes.z !== undefined
  }

  get life(): string {
    return this.attributes.x?.S ?? ''
  }

  get epoch(): string {
    return this.attributes.y?.S ?? ''
  }

  get version(): number {
    return Number(this.attributes.v?.N ?? 0)
  }

  get generation(): string {
    return this.attributes.g?.S ?? ''
  }

  /** The last token of a claim. */
  get token(): number {
    return Number(this.attributes.k?.N ?? 0)
  }

  get status(): InstanceStatus {
    return ofInstance(this.instanceId, () => statusOf(this.attributes.st?.S))
  }

  /** Whether this write is among the last ones. */
  hasWrite(name: string): boolean {
    const { writes } = this
    for (let at = 0; at < writes.length; at += WRITE_NAME)
      if (writes.startsWith(name, at)) return true
    return false
  }
}

/** Characters of the name of a write. */
export const WRITE_NAME = 8
/** Names of writes that are kept: a repeated request comes after fewer writes of others than that. */
const WRITE_NAMES = 6

/** The names of the last writes, with this one. */
export function addWrite(name: string, writes: string): string {
  return (name + writes).slice(0, WRITE_NAME * WRITE_NAMES)
}

/** Something that happened to a task's result or commit record, and is not in an item of its own yet. */
export interface TailEntry {
  readonly taskId: string
  /** The version of the write that it is of: later ones replace earlier ones. */
  readonly version: number
  /** Null: it goes away; left out: it stays as it is. */
  readonly result?: TailResult | null
  /** Null: it is forgotten; left out: it stays as it is. */
  readonly record?: CommitRecord | null
}

/** An output, here or in a body. */
export interface TailResult {
  readonly order: number
  readonly output: Uint8Array | { readonly reference: string }
}

/** What an instance's item says. */
export interface State extends StoredInstance {
  readonly life: string
  readonly epoch: string
  readonly token: number
  /** By task with an entry: the last token that was given for it since it became runnable, given up or not. */
  readonly lastTokens: ReadonlyMap<string, number>
  readonly tail: readonly TailEntry[]
  readonly hasResults: boolean
  readonly hasEvents: boolean
  /** Classes that have a marker, with its time. */
  readonly markers: ReadonlyMap<string, number>
}

const STATUS_CODES: Readonly<Record<InstanceStatus, string>> = {
  'in-progress': 'i',
  paused: 'p',
  completed: 'c',
  failed: 'f',
  cancelled: 'x',
}

const STATUSES = new Map(
  Object.entries(STATUS_CODES).map(([status, code]) => [code, status as InstanceStatus]),
)

/** How a status is stored. */
export function codeOf(status: InstanceStatus): string {
  return STATUS_CODES[status]
}

/** The status that is stored so. */
export function statusOf(code: string | undefined): InstanceStatus {
  const status = STATUSES.get(code ?? '')
  if (status === undefined) throw unreadable('its status is none that is known')
  return status
}

/** Dispatch entries without what changes with claims. */
export function writeEntries(entries: readonly DispatchEntry[]): string {
  return JSON.stringify(
    entries.map((entry) => [
      entry.taskId,
      entry.availableSince,
      entry.priority,
      entry.attempt,
      entry.timer ? 1 : 0,
      entry.inputTaskId,
      entry.lastFailedWorker,
      ...entry.tags,
    ]),
  )
}

/** Claims and deliveries, of those entries that have had any. */
export function writeClaims(
  entries: readonly DispatchEntry[],
  lastTokens: ReadonlyMap<string, number>,
): string | null {
  const claims = entries
    .filter(
      ({ claim, deliveries, taskId }) => claim !== null || deliveries > 0 || lastTokens.has(taskId),
    )
    .map(({ taskId, claim, deliveries }) => {
      const last = lastTokens.get(taskId) ?? 0
      return claim === null
        ? [taskId, deliveries, last]
        : [taskId, deliveries, last, claim.workerId, claim.token, claim.claimedAt, claim.expiresAt]
    })
  return claims.length === 0 ? null : JSON.stringify(claims)
}

/** Dispatch entries with their claims. */
export function readEntries(
  entries: string | undefined,
  claims: string | undefined,
): { entries: DispatchEntry[]; lastTokens: Map<string, number> } {
  if (entries === undefined) return { entries: [], lastTokens: new Map() }
  const held = new Map<string, { deliveries: number; claim: HeldClaim | null }>()
  const lastTokens = new Map<string, number>()
  for (const row of claims === undefined ? [] : (parse(claims) as ClaimRow[])) {
    const [taskId, deliveries, last, workerId, token = 0, claimedAt = 0, expiresAt = null] = row
    const claim = workerId === undefined ? null : { workerId, token, claimedAt, expiresAt }
    held.set(taskId, { deliveries, claim })
    if (last > 0) lastTokens.set(taskId, last)
  }
  const read = (parse(entries) as EntryRow[]).map((row): DispatchEntry => {
    const [taskId, availableSince, priority, attempt, timer, inputTaskId, worker, ...tags] = row
    return {
      taskId,
      availableSince,
      priority,
      attempt,
      timer: timer === 1,
      inputTaskId,
      lastFailedWorker: worker,
      tags,
      ...(held.get(taskId) ?? { deliveries: 0, claim: null }),
    }
  })
  return { entries: read, lastTokens }
}

type EntryRow = [string, number, number, number, number, string | null, string | null, ...string[]]
type ClaimRow = [string, number, number, string?, number?, number?, (number | null)?]

/** No UTF-8 has this byte: the outputs of a tail come behind it. */
const OUTPUTS = 0xff

/**
 * What happened last, as an attribute: five texts an entry, then the outputs. The service takes longer
 * over a list of maps than over all the rest of an item.
 */
export function writeTail(tail: readonly TailEntry[]): AttributeValue {
  const texts: string[] = []
  const outputs: Uint8Array[] = []
  for (const { taskId, version, result, record } of tail) {
    const output = result?.output
    if (output instanceof Uint8Array) outputs.push(output)
    texts.push(
      taskId,
      version.toString(36),
      result === undefined ? '' : result === null ? '-' : result.order.toString(36),
      output instanceof Uint8Array
        ? `.${output.byteLength.toString(36)}`
        : (output?.reference ?? ''),
      record === undefined ? '' : record === null ? '-' : writeRecord(record),
    )
  }
  return { B: Buffer.concat([Buffer.from(texts.join('\0')), Uint8Array.of(OUTPUTS), ...outputs]) }
}

/** What happened last. */
export function readTail(tail: AttributeValue | undefined): TailEntry[] {
  if (tail?.B === undefined) return []
  const { buffer, byteOffset, byteLength } = tail.B
  const bytes = Buffer.from(buffer, byteOffset, byteLength)
  let at = bytes.indexOf(OUTPUTS)
  const texts = bytes.toString('utf8', 0, at).split('\0')
  at += 1
  const entries: TailEntry[] = []
  for (let index = 0; index + 4 < texts.length; index += 5) {
    const [taskId = '', version = '', order = '', output = '', record = ''] = texts.slice(index)
    let result: TailResult | null = null
    if (order !== '' && order !== '-') {
      const isHere = output.startsWith('.')
      const end = isHere ? at + Number.parseInt(output.slice(1), 36) : at
      if (end > byteLength) throw unreadable('an output is missing')
      result = {
        order: Number.parseInt(order, 36),
        output: isHere ? new Uint8Array(bytes.subarray(at, end)) : { reference: output },
      }
      at = end
    }
    entries.push({
      taskId,
      version: Number.parseInt(version, 36),
      ...(order === '' ? undefined : { result }),
      ...(record === '' ? undefined : { record: record === '-' ? null : readRecord(record) }),
    })
  }
  return entries
}

/** The output that attributes have; null: none. */
export function readResult({ n, o, ob }: Attributes): TailResult | null {
  const order = Number(n?.N ?? -1)
  if (order < 0) return null
  return { order, output: ob?.S === undefined ? bytesOf(o) : { reference: ob.S } }
}

/** A commit record as text. */
export function writeRecord(record: CommitRecord): string {
  const { workerId, token, revision, status, next } = record
  return JSON.stringify([
    workerId,
    token,
    revision,
    codeOf(status),
    ...(next === null ? [] : [next.instanceId, next.taskId, next.token]),
  ])
}

/** A commit record; null: it is forgotten. */
export function readRecord(text: string): CommitRecord | null {
  if (text === '') return null
  const [workerId, token, revision, code, instanceId, taskId, nextToken = 0] = parse(
    text,
  ) as RecordRow
  const next =
    instanceId === undefined || taskId === undefined
      ? null
      : { instanceId, taskId, token: nextToken }
  return { workerId, token, revision, status: statusOf(code), next }
}

type RecordRow = [string, number, number, string, string?, string?, number?]

/** Bytes that an attribute has; its absence means none. */
export function bytesOf(value: AttributeValue | undefined): Uint8Array {
  const bytes = value?.B
  if (bytes === undefined) throw unreadable('an output is missing')
  return bytes
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw unreadable('it is not JSON', error)
  }
}
