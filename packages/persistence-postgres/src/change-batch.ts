import {
  type ClaimedEntry,
  type InstanceWrite,
  later,
  type WriteResult,
} from '@sayiir/persistence-core/adapter'
import type { Client, Row } from './client.ts'
import { plain } from './literals.ts'
import {
  type Change,
  casts,
  instanceParameters,
  NOTHING,
  nextParameters,
  type Parameter,
  resultParameters,
  sideParameters,
  taskParameters,
} from './parameters.ts'
import { json, number } from './records.ts'
import type { Routes } from './routes.ts'
import { nextIfReadable, TakenRows } from './taken-rows.ts'
import { offered, taskChanges } from './task-changes.ts'

/** Changes instances, all in one statement; each lands, or is refused, on its own. */
export async function changeInstances(
  client: Client,
  routes: Routes,
  agingIntervalMs: number,
  writes: readonly InstanceWrite[],
): Promise<WriteResult[]> {
  const { tasks, wakes } = await routed(routes, writes)
  const parameters = [
    ...instanceParameters(writes),
    ...taskParameters(tasks),
    ...resultParameters(writes),
    ...sideParameters(writes),
    ...nextParameters(writes),
    ['bigint', String(agingIntervalMs)] as const,
    ['bigint[]', plain(wakes)] as const,
    ['boolean', 'f'] as const,
  ]
  STATEMENT ??= statementOf(parameters)
  const values = parameters.map(([, value]) => value)
  // A claim that is not held makes all be undone; then it is looked for first.
  const careful = () => [...values.slice(0, -1), 't']
  const [first = [], ...claimed] = await client.query(STATEMENT, values, careful)
  return toResults(writes, first, claimed)
}

let STATEMENT: string | undefined

function statementOf(parameters: readonly Parameter[]): string {
  return `SELECT now_ms, array_to_json(failed)::text, array_to_json(own)::text, array_to_json(own_tokens)::text,
    array_to_json(own_deliveries)::text, array_to_json(due)::text, n::text, taken
    FROM {s}.change_instances(${casts(parameters)})`
}

async function routed(
  routes: Routes,
  writes: readonly InstanceWrite[],
): Promise<{ readonly tasks: readonly Change[]; readonly wakes: readonly number[] }> {
  const tasks: Change[] = []
  const wakes = new Set<number>()
  for (const [index, write] of writes.entries()) {
    const { definitionHash } = write.after.head
    const changes = taskChanges(write)
    for (const change of changes) {
      const id = change.entry === null ? 0 : routes.idOf(definitionHash, change.entry.tags)
      // Known as a rule: then nothing is waited for.
      const route = typeof id === 'number' ? id : await id
      tasks.push({ ...change, w: index + 1, route })
    }
    for (const { tags } of offered(write, changes)) {
      const id = routes.idOf(definitionHash, tags)
      wakes.add(typeof id === 'number' ? id : await id)
    }
  }
  return { tasks, wakes: [...wakes] }
}

function toResults(
  writes: readonly InstanceWrite[],
  first: Row,
  claimed: readonly Row[],
): WriteResult[] {
  const now = number(first, 0)
  const failed = new Set(json<number[]>(first, 1))
  const due = json<string[]>(first, 5) ?? []
  const next = new Map<number, ClaimedEntry>()
  const tokens = json<number[]>(first, 3) ?? []
  const deliveries = json<number[]>(first, 4) ?? []
  for (const [index, w] of (json<number[]>(first, 2) ?? []).entries()) {
    const write = writes[w - 1]
    if (write?.claimNext == null) continue
    const { own, request } = write.claimNext
    next.set(w, {
      instanceId: write.instanceId,
      taskId: own ?? NOTHING,
      deliveries: deliveries[index] ?? 1,
      claim: {
        workerId: request.workerId,
        token: tokens[index] ?? 0,
        claimedAt: now,
        expiresAt: request.ttlMs === null ? null : later(now, request.ttlMs),
      },
    })
  }
  const taken = new TakenRows(
    claimed.map((row) => json<Row>(row, 7) ?? []),
    now,
    0,
    0,
  )
  for (const row of claimed) {
    const w = number(row, 6)
    const request = writes[w - 1]?.claimNext?.request
    const entry = request === undefined ? null : nextIfReadable(taken, request)
    if (entry !== null) next.set(w, entry)
  }
  return writes.map(({ claimNext }, index) =>
    failed.has(index + 1)
      ? { written: false, now }
      : {
          written: true,
          now,
          next: next.get(index + 1) ?? null,
          due: claimNext === null ? [] : due,
        },
  )
}
