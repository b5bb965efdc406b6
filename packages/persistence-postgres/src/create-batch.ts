import type { TaskWakeup } from '@sayiir/persistence-core'
import {
  type InstanceWrite,
  isEnded,
  isOpen,
  type WriteResult,
} from '@sayiir/persistence-core/adapter'
import type { Client } from './client.ts'
import { commonTask, createPlain } from './create-plain.ts'
import { encodeStored, finalOutputOf, signalsOf } from './encode.ts'
import { alike, flags, jsonTexts, payloads, plain, texts } from './literals.ts'
import { classOf, json, number, slotOf } from './records.ts'
import type { Routes } from './routes.ts'

const CREATE = `SELECT now_ms, array_to_json(failed)::text FROM {s}.create_instances(
  $1::text::text[], $2::text::uuid[], $3::text::bigint[], $4::text::bigint[], $5::text::text[],
  $6::text::text[], $7::text::bigint[], $8::text::text[], $9::text, $10::text::bytea[],
  $11::text::bytea[], $12::text::integer[], $13::text::integer[], $14::text::text[],
  $15::text::boolean[], $16::text::bigint[], $17::text::bigint[], $18::text::integer[],
  $19::text::bigint[], $20::text::text[], $21::text::text[], $22::text::boolean[],
  $23::text::integer[], $24::text::text[], $25::text::bigint[], $26::text::bytea[],
  $27::text::bigint[], $28::text)`

/** Makes new instances, all in one statement; each is made, or is there already, on its own. */
export async function createInstances(
  client: Client,
  routes: Routes,
  writes: readonly InstanceWrite[],
): Promise<WriteResult[]> {
  const task = commonTask(writes)
  return task === null
    ? createAny(client, routes, writes)
    : createPlain(client, routes, writes, task)
}

async function createAny(
  client: Client,
  routes: Routes,
  writes: readonly InstanceWrite[],
): Promise<WriteResult[]> {
  const afters = writes.map(({ after }) => after)
  const tasks = afters.flatMap((after, index) =>
    after.entries.map((entry) => ({ entry, after, w: index + 1 })),
  )
  const routeIds: number[] = []
  for (const { entry, after } of tasks) {
    const id = routes.idOf(after.head.definitionHash, entry.tags)
    // Known as a rule: then nothing is waited for.
    routeIds.push(typeof id === 'number' ? id : await id)
  }
  const results = writes.flatMap((write, index) =>
    write.results.map((result) => ({ result, w: index + 1 })),
  )
  const [row = []] = await client.query(CREATE, [
    texts(afters.map(({ head }) => head.instanceId)),
    plain(afters.map(({ generation }) => generation)),
    plain(alike(writes.map(({ at }) => at))),
    plain(alike(writes.map(({ toleranceMs }) => toleranceMs))),
    texts(alike(afters.map(({ head }) => head.definitionHash))),
    texts(alike(afters.map(({ head }) => head.state.status))),
    plain(
      afters.map(({ head }) => (isEnded(head.state.status) ? head.updatedAt : 0)),
      0,
    ),
    texts(afters.map(signalsOf), ''),
    jsonTexts(afters.map(encodeStored)),
    payloads(afters.map(({ head }) => head.initialInput)),
    payloads(afters.map(finalOutputOf)),
    plain(tasks.map(({ w }) => w)),
    plain(
      tasks.map(({ entry, after }) => slotOf(after.head, entry.taskId)),
      0,
    ),
    texts(alike(tasks.map(({ entry }) => entry.taskId))),
    flags(alike(tasks.map(({ after }) => isOpen(after)))),
    plain(alike(tasks.map(({ entry }, index) => classOf(routeIds[index] ?? 0, entry)))),
    plain(alike(tasks.map(({ entry }) => entry.availableSince))),
    plain(
      tasks.map(({ entry }) => entry.priority),
      3,
    ),
    plain(
      tasks.map(({ entry }) => entry.attempt),
      1,
    ),
    texts(
      tasks.map(({ entry }) => entry.lastFailedWorker),
      null,
    ),
    texts(
      tasks.map(({ entry }) => entry.inputTaskId),
      null,
    ),
    flags(
      tasks.map(({ entry }) => entry.timer),
      false,
    ),
    plain(results.map(({ w }) => w)),
    texts(results.map(({ result }) => result.taskId)),
    plain(results.map(({ result }) => result.order)),
    payloads(results.map(({ result }) => result.output)),
    plain([...new Set(routeIds)]),
    dueTask(writes),
  ])
  const now = number(row, 0)
  const failed = new Set(json<number[]>(row, 1))
  return writes.map((_, index) =>
    failed.has(index + 1) ? { written: false, now } : { written: true, now, next: null, due: [] },
  )
}

/** The first of the tasks, as a wakeup tells it, if all of them may run now; else nothing. */
function dueTask(writes: readonly InstanceWrite[]): string {
  const mayRun = writes.every(
    ({ after, at }) =>
      isOpen(after) &&
      after.entries.every(({ timer, availableSince }) => !timer && availableSince <= at),
  )
  const [first] = writes
  const [entry] = first?.after.entries ?? []
  if (!mayRun || first === undefined || entry === undefined) return ''
  const { definitionHash } = first.after.head
  const wakeup: TaskWakeup = { instanceId: first.instanceId, taskId: entry.taskId, definitionHash }
  return JSON.stringify(wakeup)
}
