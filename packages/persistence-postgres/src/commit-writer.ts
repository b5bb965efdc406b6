import { BackendError } from '@sayiir/persistence-core'
import { CallFailure, CallQueue, type WriteResult } from '@sayiir/persistence-core/adapter'
import type { Client } from './client.ts'
import { commitTasks, type PlainCommit } from './commit-batch.ts'
import { isLockTimeout } from './errors.ts'
import type { Routes } from './routes.ts'
import { type Outcome, type Send, sendInOrder } from './send-in-order.ts'

/** Commits that are made in one statement at most. */
const MAX_COMMITTED = 250
/** Bytes of their outputs and heads. */
const MAX_BYTES: number = 1024 * 1024
/** Statements under way at a time: while the database is at work on one, the next is worked out here. */
const COMMITS_IN_FLIGHT = 2

/** Null: one of the claims has changed hands, and none was committed. */
type Commit = (commits: readonly PlainCommit[]) => Promise<readonly WriteResult[] | null>

/** Each group in a statement of its own, in the order of the ids as below. */
async function commitInGroups(
  commits: readonly PlainCommit[],
  commit: Commit,
  change: Send,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  const sorted = commits.map((one, index) => ({ one, index }))
  sorted.sort((a, b) => (a.one.write.instanceId < b.one.write.instanceId ? -1 : 1))
  const groups = Map.groupBy(sorted, ({ one }) => one.group)
  await Promise.all(
    Array.from(groups.values(), async (group) => {
      const all = group.map(({ one }) => one)
      const sent = await commitOrChange(all, commit, change)
      for (const [at, { index }] of group.entries()) outcomes[index] = sent[at] as Outcome
    }),
  )
  return outcomes
}

/** What goes wrong with one commit of many is found out, and told of it alone, by changing them with care. */
async function commitOrChange(
  commits: readonly PlainCommit[],
  commit: Commit,
  change: Send,
): Promise<readonly Outcome[]> {
  try {
    const sent = await commit(commits)
    if (sent !== null) return sent
  } catch (failure) {
    if (BackendError.is(failure, 'UNAVAILABLE') && !isLockTimeout(failure)) {
      return commits.map(() => new CallFailure(failure))
    }
  }
  return sendInOrder(
    commits.map(({ write }) => write),
    change,
  )
}

/** Plain commits that are in flight together, as few statements (rule D10). */
export class CommitWriter {
  readonly #commits: CallQueue<PlainCommit, WriteResult>

  /** @param change Makes any changes, with care. */
  constructor(client: Client, routes: Routes, agingIntervalMs: number, change: Send) {
    const commit: Commit = (commits) => commitTasks(client, routes, agingIntervalMs, commits)
    this.#commits = new CallQueue({
      maxCalls: MAX_COMMITTED,
      maxBytes: MAX_BYTES,
      maxInFlight: COMMITS_IN_FLIGHT,
      sizeOf: ({ output, head }) => 512 + output.byteLength + head.length,
      send: (commits) => commitInGroups(commits, commit, change),
    })
  }

  commit(commit: PlainCommit): Promise<WriteResult> {
    return this.#commits.call(commit)
  }
}
