import { BackendError } from '@sayiir/persistence-core'
import {
  CallQueue,
  type CallQueueOptions,
  type InstanceWrite,
  type WriteResult,
} from '@sayiir/persistence-core/adapter'
import { changeInstances } from './change-batch.ts'
import type { Client } from './client.ts'
import { createInstances } from './create-batch.ts'
import { isLockTimeout } from './errors.ts'
import type { Routes } from './routes.ts'

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

/** What became of a write, or why it failed. */
type Outcome = WriteResult | { readonly failure: unknown }

type Send = (writes: readonly InstanceWrite[]) => Promise<readonly WriteResult[]>

/** Writes of instances that are in flight together, as few statements (rule D10). */
export class InstanceWriter {
  readonly #created: CallQueue<InstanceWrite, Outcome>
  readonly #changed: CallQueue<InstanceWrite, Outcome>

  constructor(client: Client, routes: Routes, agingIntervalMs: number) {
    this.#created = queueOf(
      {
        maxCalls: MAX_CREATED,
        maxInFlight: CREATES_IN_FLIGHT,
        maxFullInFlight: FULL_CREATES_IN_FLIGHT,
      },
      (writes) => createInstances(client, routes, writes),
    )
    this.#changed = queueOf({ maxCalls: MAX_CHANGED, maxInFlight: CHANGES_IN_FLIGHT }, (writes) =>
      changeInstances(client, routes, agingIntervalMs, writes),
    )
  }

  async write(write: InstanceWrite): Promise<WriteResult> {
    const outcome = await (write.before === null ? this.#created : this.#changed).call(write)
    if ('failure' in outcome) throw outcome.failure
    return outcome
  }
}

function queueOf(
  limits: Pick<
    CallQueueOptions<InstanceWrite, Outcome>,
    'maxCalls' | 'maxInFlight' | 'maxFullInFlight'
  >,
  send: Send,
): CallQueue<InstanceWrite, Outcome> {
  return new CallQueue({
    ...limits,
    maxBytes: MAX_BYTES,
    sizeOf,
    send: (writes) => sendInOrder(writes, send),
  })
}

/**
 * In the order of their ids, so that two processes never wait for each other; an instance that is
 * there twice, one after the other.
 */
async function sendInOrder(writes: readonly InstanceWrite[], send: Send): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  let left = writes.map((write, index) => ({ write, index }))
  left.sort(({ write: a }, { write: b }) => (a.instanceId < b.instanceId ? -1 : 1))
  while (left.length > 0) {
    const first: typeof left = []
    const again: typeof left = []
    for (const one of left) {
      const isAgain = first.at(-1)?.write.instanceId === one.write.instanceId
      ;(isAgain ? again : first).push(one)
    }
    const sent = await sendApart(
      first.map(({ write }) => write),
      send,
    )
    for (const [index, { index: place }] of first.entries()) {
      outcomes[place] = sent[index] as Outcome
    }
    left = again
  }
  return outcomes
}

/**
 * What is wrong with one write does not fail the others; neither does a row that somebody keeps
 * locked for longer than the database's `lock_timeout`.
 */
async function sendApart(
  writes: readonly InstanceWrite[],
  send: Send,
): Promise<readonly Outcome[]> {
  try {
    return await send(writes)
  } catch (failure) {
    if (writes.length === 1) return [{ failure }]
    if (BackendError.is(failure, 'UNAVAILABLE') && !isLockTimeout(failure)) throw failure
  }
  const outcomes: Outcome[] = []
  for (const write of writes) outcomes.push(...(await sendApart([write], send)))
  return outcomes
}

function sizeOf({ after, results, event }: InstanceWrite): number {
  let bytes = 512 + (after.head.initialInput?.byteLength ?? 0) + (event?.payload?.byteLength ?? 0)
  for (const { output } of results) bytes += output.byteLength
  return bytes
}
