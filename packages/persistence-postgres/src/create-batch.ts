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
import { alike, Columns, jsonTexts, plain, texts } from './literals.ts'
import { casts, entryParameters, type Parameter } from './parameters.ts'
import { classOf, json, number, slotOf } from './records.ts'
import type { Routes } from './routes.ts'

let STATEMENT: string | undefined

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
  for (const [index, stored] of afters.entries()) {
    own.push(null)
    for (const entry of stored.entries) {
      const id = routes.idOf(stored.head.definitionHash, entry.tags)
      // Known as a rule: then nothing is waited for.
      const route = typeof id === 'number' ? id : await id
      routeIds.add(route)
      const task = { entry, route, open: isOpen(stored) }
      const slot = slotOf(stored.head, entry.taskId)
      if (slot === 0) own[index] = task
      else forked.push({ ...task, w: index + 1, slot })
    }
  }
  const results = writes.flatMap((write, index) =>
    write.results.map((result) => ({ result, w: index + 1 })),
  )
  const after = new Columns(afters)
  const fork = new Columns(forked)
  const result = new Columns(results)
  const parameters: readonly Parameter[] = [
    ['text[]', after.texts(({ head }) => head.instanceId)],
    ['uuid[]', after.plain(({ generation }) => generation)],
    ['bigint[]', plain(alike(writes.map(({ at }) => at)))],
    ['bigint[]', plain(alike(writes.map(({ toleranceMs }) => toleranceMs)))],
    ['text[]', texts(alike(afters.map(({ head }) => head.definitionHash)))],
    ['text[]', texts(alike(afters.map(({ head }) => head.state.status)))],
    ['bigint[]', after.plain(({ head }) => (isEnded(head.state.status) ? head.updatedAt : 0), 0)],
    ['text[]', after.texts(signalsOf, '')],
    ['text', jsonTexts(afters.map(encodeStored))],
    ['bytea[]', after.payloads(({ head }) => head.initialInput)],
    ['bytea[]', after.payloads(finalOutputOf)],
    ...taskParameters(own),
    ['integer[]', fork.plain(({ w }) => w)],
    ['integer[]', fork.plain(({ slot }) => slot)],
    ...taskParameters(forked),
    ['integer[]', result.plain(({ w }) => w)],
    ['text[]', result.texts((one) => one.result.taskId)],
    ['bigint[]', result.plain((one) => one.result.order)],
    ['bytea[]', result.payloads((one) => one.result.output)],
    ['bigint[]', plain([...routeIds])],
    ['text', dueTask(writes)],
  ]
  STATEMENT ??= `SELECT now_ms, array_to_json(failed)::text FROM {s}.create_instances(${casts(parameters)})`
  const values = parameters.map(([, value]) => value)
  const [row = []] = await client.query(STATEMENT, values)
  const now = number(row, 0)
  const failed = new Set(json<number[]>(row, 1))
  return writes.map((_, index) =>
    failed.has(index + 1) ? { written: false, now } : { written: true, now, next: null, due: [] },
  )
}

/** Tasks, one a row; null where an instance has none. */
function taskParameters(tasks: readonly (NewTask | null)[]): Parameter[] {
  const task = new Columns(tasks)
  return [
    ['text[]', task.texts((one) => one?.entry.taskId ?? null, null)],
    ['boolean[]', task.flags((one) => one?.open ?? false, false)],
    ['bigint[]', task.plain((one) => (one === null ? null : classOf(one.route, one.entry)))],
    ['bigint[]', task.plain((one) => one?.entry.availableSince ?? null)],
    ...entryParameters(task),
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
