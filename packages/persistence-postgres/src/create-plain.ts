import type { SnapshotHead, TaskWakeup } from '@sayiir/persistence-core'
import type { DispatchEntry, InstanceWrite, WriteResult } from '@sayiir/persistence-core/adapter'
import type { Client } from './client.ts'
import { encodeStored } from './encode.ts'
import { alike, hexOf, plain } from './literals.ts'
import { classOf, json, number } from './records.ts'
import type { Routes } from './routes.ts'

const CREATE = `SELECT now_ms, failed FROM {s}.create_plain($1::text, $2::text, $3::text,
  $4::text::integer[], $5::text::bigint[], $6::text, $7::text::bigint, $8::text, $9::text, $10::text::bigint,
  $11::text::smallint, $12::text)`

const CREATE_ONE = `SELECT {s}.create_one($1::text, $2::text::uuid, $3::text::bigint, $4::text, $5::text,
  $6::text::bigint, $7::text, $8::text, $9::text::bigint, $10::text::smallint, $11::text)`

/** Stands for no payload, which an empty text is not. */
const NONE = '-'
/** The size of no payload. */
const NO_BYTES = -1
/** Between ids; JSON and base64 have none. */
const SEPARATOR = '\u0001'

/**
 * The task that all of these new instances wait for, if they are plain and alike but for id, time
 * and input. Else null.
 */
export function commonTask(writes: readonly InstanceWrite[]): DispatchEntry | null {
  const first = writes[0]?.after
  const entry = first?.entries[0]
  const toleranceMs = writes[0]?.toleranceMs
  if (first === undefined || entry === undefined) return null
  for (const write of writes) {
    const { head, entries } = write.after
    // By its place: to take an array apart is to iterate over it.
    const own = entries[0]
    const isAlike =
      write.plain === 'start' &&
      own?.taskId === entry.taskId &&
      own.priority === entry.priority &&
      isSame(own.tags, entry.tags) &&
      head.definitionHash === first.head.definitionHash &&
      write.toleranceMs === toleranceMs &&
      !write.instanceId.includes(SEPARATOR)
    if (!isAlike) return null
  }
  return entry
}

/** Makes new instances that all wait for `entry`, in one statement of few parameters. */
export async function createPlain(
  client: Client,
  routes: Routes,
  writes: readonly InstanceWrite[],
  entry: DispatchEntry,
): Promise<WriteResult[]> {
  const [{ after, at, toleranceMs, instanceId }] = writes as [InstanceWrite, ...InstanceWrite[]]
  const { definitionHash } = after.head
  const known = routes.idOf(definitionHash, entry.tags)
  // Known as a rule: then nothing is waited for.
  const route = typeof known === 'number' ? known : await known
  const head = encodeStored(after)
  const wakeup: TaskWakeup = { instanceId, taskId: entry.taskId, definitionHash }
  if (writes.length === 1) {
    const { initialInput } = after.head
    const [made = []] = await client.query(CREATE_ONE, [
      ...[instanceId, after.generation, String(at)],
      ...[initialInput === null ? NONE : hexOf(initialInput), head, String(toleranceMs)],
      ...[definitionHash, entry.taskId, String(classOf(route, entry)), String(entry.priority)],
      JSON.stringify(wakeup),
    ])
    const time = number(made, 0)
    return [
      time > 0 ? { written: true, now: time, next: null, due: [] } : { written: false, now: -time },
    ]
  }
  const [row = []] = await client.query(CREATE, [
    ...columnsOf(writes, head),
    ...[String(toleranceMs), definitionHash, entry.taskId, String(classOf(route, entry))],
    ...[String(entry.priority), JSON.stringify(wakeup)],
  ])
  const now = number(row, 0)
  const made: WriteResult = { written: true, now, next: null, due: [] }
  const failedIds = json<string[]>(row, 1)
  if (failedIds === null) return writes.map(() => made)
  const failed = new Set(failedIds)
  return writes.map(({ instanceId: id }) => (failed.has(id) ? { written: false, now } : made))
}

/** What differs, as one text each: a string for each row would be a third of what is allocated for it. */
function columnsOf(writes: readonly InstanceWrite[], commonHead: string): string[] {
  const first = (writes[0] as InstanceWrite).after.head
  const ids: string[] = []
  const generations: string[] = []
  const times: number[] = []
  const inputs: Uint8Array[] = []
  const sizes: number[] = []
  let heads: string[] | null = null
  for (const { after, at } of writes) {
    const { head } = after
    const { initialInput } = head
    ids.push(head.instanceId)
    generations.push(after.generation)
    times.push(at)
    sizes.push(initialInput === null ? NO_BYTES : initialInput.byteLength)
    if (initialInput !== null) inputs.push(initialInput)
    if (heads === null && !isSameRecord(head, first)) {
      heads = writes.slice(0, ids.length - 1).map(() => commonHead)
    }
    heads?.push(encodeStored(after))
  }
  return [
    ids.join(SEPARATOR),
    generations.join(SEPARATOR),
    Buffer.concat(inputs).toString('base64'),
    plain(alike(sizes)),
    plain(alike(times)),
    heads === null ? commonHead : heads.join(SEPARATOR),
  ]
}

/** Whether two instances at a task are the same but for what has columns: as they nearly always are, and soon seen. */
function isSameRecord(a: SnapshotHead, b: SnapshotHead): boolean {
  return (
    a === b ||
    (a.state.status === 'in-progress' &&
      b.state.status === 'in-progress' &&
      a.state.position.kind === 'at-task' &&
      b.state.position.kind === 'at-task' &&
      a.state.position.taskId === b.state.position.taskId &&
      a.state.lastCompletedTaskId === b.state.lastCompletedTaskId &&
      a.priority === b.priority &&
      a.deadline === null &&
      b.deadline === null &&
      a.retries.size + b.retries.size + a.loopIterations.size + b.loopIterations.size === 0 &&
      a.traceParent === b.traceParent &&
      isSame(a.tags, b.tags))
  )
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index])
}
