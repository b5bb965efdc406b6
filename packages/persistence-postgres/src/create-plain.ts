import type { SnapshotHead, TaskWakeup } from '@sayiir/persistence-core'
import type { DispatchEntry, InstanceWrite, WriteResult } from '@sayiir/persistence-core/adapter'
import type { Client } from './client.ts'
import { encodeStored } from './encode.ts'
import { alike, base64Of, hexOf, plain } from './literals.ts'
import { classOf, json, number } from './records.ts'
import type { Routes } from './routes.ts'

const CREATE = `SELECT now_ms, failed FROM {s}.create_plain($1::text, $2::text, $3::text,
  $4::text::bigint[], $5::text, $6::text::bigint, $7::text, $8::text, $9::text::bigint, $10::text::smallint,
  $11::text)`

const CREATE_ONE = `SELECT {s}.create_one($1::text, $2::text::uuid, $3::text::bigint, $4::text, $5::text,
  $6::text::bigint, $7::text, $8::text, $9::text::bigint, $10::text::smallint, $11::text)`

/** Stands for no payload, which an empty text is not. */
const NONE = '-'
/** Between ids; JSON and base64 have none. */
const SEPARATOR = '\u0001'

/**
 * The task that all of these new instances wait for, if they are plain and alike but for id, time
 * and input. Else null.
 */
export function commonTask(writes: readonly InstanceWrite[]): DispatchEntry | null {
  const [first] = writes
  const entry = first?.after.entries[0]
  if (first === undefined || entry === undefined) return null
  const { definitionHash } = first.after.head
  const isAlike = writes.every(({ plain: kind, instanceId, after, toleranceMs }) => {
    const [own] = after.entries
    return (
      kind === 'start' &&
      own?.taskId === entry.taskId &&
      own.priority === entry.priority &&
      isSame(own.tags, entry.tags) &&
      after.head.definitionHash === definitionHash &&
      toleranceMs === first.toleranceMs &&
      !instanceId.includes(SEPARATOR)
    )
  })
  return isAlike ? entry : null
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
  const afters = writes.map((write) => write.after)
  const heads = afters.every((one) => one === after || isSameRecord(one.head, after.head))
    ? [head]
    : afters.map(encodeStored)
  const [row = []] = await client.query(CREATE, [
    afters.map((one) => one.head.instanceId).join(SEPARATOR),
    afters.map((one) => one.generation).join(SEPARATOR),
    afters.map((one) => inputOf(one.head)).join(SEPARATOR),
    ...[plain(alike(writes.map((write) => write.at))), heads.join(SEPARATOR), String(toleranceMs)],
    ...[definitionHash, entry.taskId, String(classOf(route, entry)), String(entry.priority)],
    JSON.stringify(wakeup),
  ])
  const now = number(row, 0)
  const made: WriteResult = { written: true, now, next: null, due: [] }
  const failed = new Set(json<string[]>(row, 1))
  return writes.map(({ instanceId: id }) => (failed.has(id) ? { written: false, now } : made))
}

function inputOf({ initialInput }: SnapshotHead): string {
  return initialInput === null ? NONE : base64Of(initialInput)
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
