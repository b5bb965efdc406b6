import type { TaskWakeup } from '@sayiir/persistence-core'
import {
  type DispatchEntry,
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
  $11::text::bytea[], $12::text::text[], $13::text::boolean[], $14::text::bigint[],
  $15::text::bigint[], $16::text::integer[], $17::text::bigint[], $18::text::text[],
  $19::text::text[], $20::text::boolean[], $21::text::integer[], $22::text::integer[],
  $23::text::text[], $24::text::boolean[], $25::text::bigint[], $26::text::bigint[],
  $27::text::integer[], $28::text::bigint[], $29::text::text[], $30::text::text[],
  $31::text::boolean[], $32::text::integer[], $33::text::text[], $34::text::bigint[],
  $35::text::bytea[], $36::text::bigint[], $37::text)`

interface NewTask {
  readonly entry: DispatchEntry
  readonly route: number
  readonly open: boolean
}

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
  const routeIds = new Set<number>()
  const own: (NewTask | null)[] = []
  const forked: (NewTask & { readonly w: number; readonly slot: number })[] = []
  for (const [index, after] of afters.entries()) {
    own.push(null)
    for (const entry of after.entries) {
      const id = routes.idOf(after.head.definitionHash, entry.tags)
      // Known as a rule: then nothing is waited for.
      const route = typeof id === 'number' ? id : await id
      routeIds.add(route)
      const task = { entry, route, open: isOpen(after) }
      const slot = slotOf(after.head, entry.taskId)
      if (slot === 0) own[index] = task
      else forked.push({ ...task, w: index + 1, slot })
    }
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
    ...taskParameters(own),
    plain(forked.map(({ w }) => w)),
    plain(forked.map(({ slot }) => slot)),
    ...taskParameters(forked),
    plain(results.map(({ w }) => w)),
    texts(results.map(({ result }) => result.taskId)),
    plain(results.map(({ result }) => result.order)),
    payloads(results.map(({ result }) => result.output)),
    plain([...routeIds]),
    dueTask(writes),
  ])
  const now = number(row, 0)
  const failed = new Set(json<number[]>(row, 1))
  return writes.map((_, index) =>
    failed.has(index + 1) ? { written: false, now } : { written: true, now, next: null, due: [] },
  )
}

/** Tasks, one a column; null where an instance has none. */
function taskParameters(tasks: readonly (NewTask | null)[]): string[] {
  const entries = tasks.map((task) => task?.entry)
  return [
    texts(
      entries.map((entry) => entry?.taskId ?? null),
      null,
    ),
    flags(
      tasks.map((task) => task?.open ?? false),
      false,
    ),
    plain(tasks.map((task) => (task === null ? null : classOf(task.route, task.entry)))),
    plain(entries.map((entry) => entry?.availableSince ?? null)),
    plain(
      entries.map((entry) => entry?.priority ?? 3),
      3,
    ),
    plain(
      entries.map((entry) => entry?.attempt ?? 1),
      1,
    ),
    texts(
      entries.map((entry) => entry?.lastFailedWorker ?? null),
      null,
    ),
    texts(
      entries.map((entry) => entry?.inputTaskId ?? null),
      null,
    ),
    flags(
      entries.map((entry) => entry?.timer ?? false),
      false,
    ),
  ]
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
