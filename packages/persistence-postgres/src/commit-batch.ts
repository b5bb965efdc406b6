import {
  type ClaimedEntry,
  encodeHead,
  type InstanceWrite,
  later,
  type WriteResult,
} from '@sayiir/persistence-core/adapter'
import type { Client, Row } from './client.ts'
import { finalOutputOf } from './encode.ts'
import { filterText } from './filter.ts'
import { plain } from './literals.ts'
import { classOf, json, jsonRows, markOf, number } from './records.ts'
import type { Routes } from './routes.ts'
import { nextIfReadable, TakenRows } from './taken-rows.ts'

/** Rows of JSON, as `commit_tasks` says. */
const COMMIT = `SELECT {s}.commit_tasks($1::text, $2::text, $3::text::bigint, $4::text::bigint, $5::text::bigint, $6::text,
    $7::text::boolean, $8::text::bigint, $9::text::bigint, $10::text, $11::text::bigint,
    $12::text::bigint[])`

type Held = Required<NonNullable<InstanceWrite['holds']>>
type Entry = InstanceWrite['after']['entries'][number]

/** The commit of a task that completed, which was the only one of its instance. */
export interface PlainCommit {
  readonly write: InstanceWrite
  readonly held: Held
  readonly output: Uint8Array
  readonly place: number
  /** What comes next in the instance; null: it is completed. */
  readonly next: Entry | null
  readonly head: string
  /** Commits of the same group can be made together. */
  readonly group: string
}

/** A write as such a commit, null where it is anything more. */
export function toPlainCommit(write: InstanceWrite): PlainCommit | null {
  const { plain: kind, before, after, holds, results, claimNext } = write
  const [result] = results
  if (kind !== 'commit' || holds?.token === undefined || result === undefined) return null
  // Events that are queued go with the end, and tasks that others have to claim are not looked for.
  if ((before?.queuedEvents ?? 0) > 0) return null
  const [next = null] = after.entries
  if (claimNext !== null && claimNext.own !== (next?.taskId ?? null)) return null
  let group = holds.workerId
  if (claimNext !== null) {
    const { request } = claimNext
    group = `${request.ttlMs} ${filterText(request.filter)} ${group}`
  }
  const head = encodeHead(after.head)
  // PostgreSQL's JSON takes all but this.
  if (head.includes('\\u0000')) return null
  return {
    ...{ write, next, head, group, output: result.output, place: result.order },
    held: { ...holds, token: holds.token },
  }
}

/**
 * Makes commits of the same group, all in one statement, each on its own. Null: others' writes made
 * the statement fail, or one of the tasks is not due yet, and none was made.
 */
export async function commitTasks(
  client: Client,
  routes: Routes,
  agingIntervalMs: number,
  commits: readonly PlainCommit[],
): Promise<WriteResult[] | null> {
  const [first] = commits
  if (first === undefined) return []
  const { claimNext, toleranceMs } = first.write
  let [from, to, tolerance] = [first.write.at, first.write.at, toleranceMs]
  const offered = new Set<number>()
  let steps = ''
  let ends = ''
  for (const [index, { write, next, ...commit }] of commits.entries()) {
    const { at, before } = write
    from = Math.min(from, at)
    to = Math.max(to, at)
    tolerance = Math.min(tolerance, write.toleranceMs)
    const record = `{"n":${index},"id":${JSON.stringify(write.instanceId)},"generation":"${before?.generation}","version":${before?.version},"task":${JSON.stringify(commit.held.taskId)},"token":${commit.held.token},"at":${at},"head":${commit.head},"place":${commit.place},"output":${hex(commit.output)}`
    if (next === null) {
      ends += `${ends === '' ? '[' : ','}${record},"final":${hex(finalOutputOf(write.after))}}`
    } else {
      const known = routes.idOf(write.after.head.definitionHash, next.tags)
      const route = typeof known === 'number' ? known : await known
      if (claimNext === null) offered.add(route)
      steps += `${steps === '' ? '[' : ','}${record},"next_task":${JSON.stringify(next.taskId)},"class":${classOf(route, next)},"priority":${next.priority}}`
    }
  }
  const { workerId } = first.held
  const rows = await client.tryQuery(COMMIT, [
    steps === '' ? '' : `${steps}]`,
    ends === '' ? '' : `${ends}]`,
    ...[String(from), String(to), String(tolerance), workerId],
    claimNext === null ? 'f' : 't',
    String(claimNext?.request.ttlMs ?? -1),
    String(markOf(workerId)),
    claimNext === null ? '' : filterText(claimNext.request.filter),
    String(agingIntervalMs),
    plain([...offered]),
  ])
  return rows === null ? null : toResults(commits, jsonRows(rows))
}

function toResults(commits: readonly PlainCommit[], rows: readonly Row[]): WriteResult[] {
  const [first = []] = rows
  const now = number(first, 0)
  const taken = new TakenRows(rows, now, 1, 0)
  const results: WriteResult[] = commits.map(() => ({ written: false, now }))
  const tokens = json<number[]>(first, 3) ?? []
  // One of them takes care of it.
  let due = json<string[]>(first, 1) ?? []
  let step = 0
  for (const n of json<number[]>(first, 2) ?? []) {
    const commit = commits[n]
    if (commit === undefined) continue
    const { claimNext } = commit.write
    let next: ClaimedEntry | null = null
    if (claimNext !== null) {
      if (commit.next === null) {
        next = nextIfReadable(taken, claimNext.request)
      } else next = ownNext(commit, commit.next, now, tokens[step++] ?? 0)
    }
    results[n] = { written: true, now, next, due }
    due = []
  }
  return results
}

function ownNext(
  { write: { instanceId, claimNext }, held: { workerId } }: PlainCommit,
  { taskId }: Entry,
  now: number,
  token: number,
): ClaimedEntry {
  const ttlMs = claimNext?.request.ttlMs ?? null
  const expiresAt = ttlMs === null ? null : later(now, ttlMs)
  return {
    instanceId,
    taskId,
    deliveries: 1,
    claim: { workerId, token, claimedAt: now, expiresAt },
  }
}

/** A payload as JSON, of what PostgreSQL reads as bytes. */
function hex(payload: Uint8Array | null): string {
  if (payload === null) return 'null'
  const { buffer, byteOffset, byteLength } = payload
  return `"\\\\x${Buffer.from(buffer, byteOffset, byteLength).toString('hex')}"`
}
