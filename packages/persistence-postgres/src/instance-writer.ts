import {
  CallQueue,
  type CallQueueOptions,
  type InstanceWrite,
  type WriteResult,
} from '@sayiir/persistence-core/adapter'
import { changeInstances } from './change-batch.ts'
import type { Client } from './client.ts'
import { toPlainCommit } from './commit-batch.ts'
import { CommitWriter } from './commit-writer.ts'
import { createInstances } from './create-batch.ts'
import type { Routes } from './routes.ts'
import { type Send, sendInOrder } from './send-in-order.ts'

/** Instances that are made, or changed, in one statement at most. */
const MAX_CREATED = 250
const MAX_CHANGED = 250
/** Bytes of their payloads, about. */
const MAX_BYTES: number = 1024 * 1024
/** Statements under way at a time. New instances: while one waits for the disk, another is worked on. */
const CREATES_IN_FLIGHT = 2
/** Where there are many: so that the database is at work while the next are encoded. */
const FULL_CREATES_IN_FLIGHT = 4
/** Changes: what comes meanwhile travels together, since a statement costs as much as several rows. */
const CHANGES_IN_FLIGHT = 1

/** Writes of instances that are in flight together, as few statements (rule D10). */
export class InstanceWriter {
  readonly #created: CallQueue<InstanceWrite, WriteResult>
  readonly #changed: CallQueue<InstanceWrite, WriteResult>
  readonly #commits: CommitWriter

  constructor(client: Client, routes: Routes, agingIntervalMs: number) {
    this.#created = queueOf(
      {
        maxCalls: MAX_CREATED,
        maxInFlight: CREATES_IN_FLIGHT,
        maxFullInFlight: FULL_CREATES_IN_FLIGHT,
        aloneAtOnce: true,
      },
      (writes) => createInstances(client, routes, writes),
    )
    const change: Send = (writes) => changeInstances(client, routes, agingIntervalMs, writes)
    this.#changed = queueOf({ maxCalls: MAX_CHANGED, maxInFlight: CHANGES_IN_FLIGHT }, change)
    this.#commits = new CommitWriter(client, routes, agingIntervalMs, change)
  }

  write(write: InstanceWrite): Promise<WriteResult> {
    if (write.before === null) return this.#created.call(write)
    const commit = toPlainCommit(write)
    return commit === null ? this.#changed.call(write) : this.#commits.commit(commit)
  }
}

function queueOf(
  limits: Pick<
    CallQueueOptions<InstanceWrite, WriteResult>,
    'maxCalls' | 'maxInFlight' | 'maxFullInFlight' | 'aloneAtOnce'
  >,
  send: Send,
): CallQueue<InstanceWrite, WriteResult> {
  return new CallQueue({
    ...limits,
    maxBytes: MAX_BYTES,
    sizeOf,
    send: (writes) => sendInOrder(writes, send),
  })
}

function sizeOf({ after, results, event }: InstanceWrite): number {
  let bytes = 512 + (after.head.initialInput?.byteLength ?? 0) + (event?.payload?.byteLength ?? 0)
  for (const { output } of results) bytes += output.byteLength
  return bytes
}
