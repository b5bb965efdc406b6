import type { TaskResult } from '@sayiir/persistence-core'
import type {
  CommitRecord,
  InstanceWrite,
  OptimisticStore,
  WriteResult,
} from '@sayiir/persistence-core/adapter'
import type { StoreContext } from './context.ts'
import type { DispatchStore } from './dispatch-store.ts'
import { readClaimed, toTexts } from './found-tasks.ts'
import type { Shard } from './layout.ts'
import {
  decodeClaim,
  decodeInstance,
  decodeOutcome,
  splitNewest,
  toBytesOrNull,
} from './records.ts'
import { ShardQueue } from './shard-queue.ts'
import { writeArguments } from './write-args.ts'

/** Bytes of a write beside its payloads, roughly. */
const WRITE_BYTES = 600

/** Instances, their results and their events: reading them, and the compare-and-set. */
export class InstanceStore {
  readonly #context: StoreContext
  readonly #dispatch: DispatchStore
  readonly #writes: ShardQueue<InstanceWrite, WriteResult>

  constructor(context: StoreContext, dispatch: DispatchStore) {
    this.#context = context
    this.#dispatch = dispatch
    this.#writes = new ShardQueue(
      context.layout,
      context.options.commandTimeoutMs,
      sizeOf,
      (shard, writes) => this.#send(shard, writes),
    )
  }

  async read(
    instanceId: string,
    event?: { readonly signalName: string; readonly eventId: string },
  ): ReturnType<OptimisticStore['read']> {
    const { connection, layout } = this.#context
    const shard = layout.shardOf(instanceId)
    const keys = event === undefined ? shard.keys : [...shard.keys, shard.events(instanceId)]
    const [time, record, claims, initialInput, finalOutput, isKnown] = (await connection.run(
      'read',
      keys,
      [instanceId, event?.signalName ?? '', event?.eventId ?? ''],
    )) as [Buffer, Buffer | null, (Buffer | null)[], Buffer | null, Buffer | null, number]
    return {
      now: this.#observe(time),
      stored:
        record === null
          ? null
          : decodeInstance(instanceId, record, claims, { initialInput, finalOutput }),
      isKnownEvent: isKnown === 1,
    }
  }

  async readWhole(instanceId: string): ReturnType<OptimisticStore['readWhole']> {
    const { connection, layout } = this.#context
    const shard = layout.shardOf(instanceId)
    const [time, record, claims, initialInput, finalOutput, newest, fields] = (await connection.run(
      'read-whole',
      [...shard.keys, shard.results(instanceId)],
      [instanceId],
    )) as [
      Buffer,
      Buffer | null,
      (Buffer | null)[],
      Buffer | null,
      Buffer | null,
      Buffer | null,
      Buffer[],
    ]
    if (record === null) return null
    return {
      now: this.#observe(time),
      stored: decodeInstance(instanceId, record, claims, { initialInput, finalOutput }),
      results: resultsOf(instanceId, fields, newest),
    }
  }

  async readOutputs(
    instanceId: string,
    taskIds: readonly string[],
  ): Promise<ReadonlyMap<string, Uint8Array> | null> {
    const { connection, layout } = this.#context
    const shard = layout.shardOf(instanceId)
    const [isThere, newest, values] = (await connection.run(
      'read-outputs',
      [...shard.keys, shard.results(instanceId)],
      [instanceId, ...taskIds],
    )) as [number, Buffer | null, (Buffer | null)[]]
    if (isThere === 0) return null
    const outputs = new Map<string, Uint8Array>()
    const last = splitNewest(newest)
    for (const [index, taskId] of taskIds.entries()) {
      const value = last?.taskId === taskId ? last.value : (values[index] ?? null)
      const outcome = value === null ? null : decodeOutcome(instanceId, value)
      if (outcome !== null && outcome.order !== null) outputs.set(taskId, outcome.output)
    }
    return outputs
  }

  async readEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    const { connection, layout } = this.#context
    const shard = layout.shardOf(instanceId)
    const keys = [...shard.keys, shard.events(instanceId)]
    return toBytesOrNull((await connection.run('read-event', keys, [signalName])) as Buffer | null)
  }

  async readCommit(instanceId: string, taskId: string): Promise<CommitRecord | null> {
    const { connection, layout } = this.#context
    const shard = layout.shardOf(instanceId)
    const [newest, value, claimed] = (await connection.run(
      'read-commit',
      [...shard.keys, shard.results(instanceId)],
      [instanceId, taskId],
    )) as [Buffer | null, Buffer | null, Buffer | null]
    const last = splitNewest(newest)
    const stored = last?.taskId === taskId ? last.value : value
    const commit = stored === null ? null : decodeOutcome(instanceId, stored).commit
    if (commit === null) return null
    const lastToken = decodeClaim(claimed)?.lastToken ?? 0
    // Claimed again since: not by the commit itself, so it is forgotten.
    return lastToken > commit.token && lastToken !== commit.next?.token ? null : commit
  }

  async write(write: InstanceWrite): Promise<WriteResult> {
    const { layout } = this.#context
    const shard = layout.shardOf(write.instanceId)
    const result = await this.#writes.call(shard, write)
    const { claimNext, commit } = write
    if (!result.written || result.next !== null || claimNext === null || layout.shards.length === 1)
      return result
    // This shard has no more work: another one may have.
    const { tasks, due } = await this.#dispatch.claimElsewhere(claimNext.request, shard, true)
    const [next = null] = tasks
    if (next !== null && commit !== null) {
      const claimed = `${next.instanceId}\0${next.taskId}\0${next.claim.token}\0`
      await this.#context.connection.run(
        'note-next',
        [...shard.keys, shard.results(write.instanceId)],
        [write.instanceId, commit.taskId, commit.token, claimed],
      )
    }
    return { ...result, next, due: [...result.due, ...due] }
  }

  async takeEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    const { connection, layout } = this.#context
    const shard = layout.shardOf(instanceId)
    const keys = [...shard.keys, shard.events(instanceId)]
    const taken = await connection.run('take-event', keys, [instanceId, signalName])
    return toBytesOrNull(taken as Buffer | null)
  }

  async remove(instanceId: string): Promise<boolean> {
    const { connection, layout } = this.#context
    const shard = layout.shardOf(instanceId)
    const keys = [...shard.keys, shard.results(instanceId), shard.events(instanceId)]
    return (await connection.runOnce('remove', shard, keys, [instanceId])) === 1
  }

  async #send(shard: Shard, writes: readonly InstanceWrite[]): Promise<readonly WriteResult[]> {
    const { connection, options } = this.#context
    const { keys, args } = writeArguments(
      shard,
      options.agingIntervalMs,
      this.#context.layout.shards.length > 1,
      writes,
    )
    const [time, states, due, ownClaims, otherKeys, otherClaims, records, payloads, claims] =
      (await connection.runOnce('write', shard, keys, args)) as [
        Buffer,
        Buffer[],
        Buffer[],
        Buffer[],
        Buffer[],
        Buffer[],
        (Buffer | null)[],
        (Buffer | null)[],
        ((Buffer | null)[] | null)[],
      ]
    const now = this.#observe(time)
    const others = new Map(
      readClaimed(otherKeys, otherClaims, { records, payloads, claims }).map((claimed) => [
        `${claimed.instanceId}\0${claimed.taskId}`,
        claimed,
      ]),
    )
    const dueIds = toTexts(due)
    let own = 0
    let other = 0
    return states.map((state, index): WriteResult => {
      const { claimNext, instanceId } = writes[index] as InstanceWrite
      switch (state.toString()) {
        case '0':
          return { written: false, now }
        case '2': {
          const claim = decodeClaim(ownClaims[own] ?? null)
          own += 1
          const taskId = claimNext?.own ?? ''
          const next =
            claim?.held == null
              ? null
              : { instanceId, taskId, claim: claim.held, deliveries: claim.deliveries }
          return { written: true, now, next, due: dueIds }
        }
        case '3': {
          const next = others.get(otherKeys[other]?.toString() ?? '') ?? null
          other += 1
          return { written: true, now, next, due: dueIds }
        }
        default:
          return { written: true, now, next: null, due: claimNext === null ? [] : dueIds }
      }
    })
  }

  #observe(time: Buffer): number {
    const now = Number(time.toString())
    this.#context.clock.observe(now)
    return now
  }
}

function resultsOf(
  instanceId: string,
  fields: readonly Buffer[],
  newest: Buffer | null,
): TaskResult[] {
  const outcomes = new Map<string, Buffer>()
  for (let index = 0; index + 1 < fields.length; index += 2) {
    outcomes.set((fields[index] as Buffer).toString(), fields[index + 1] as Buffer)
  }
  const last = splitNewest(newest)
  if (last !== null) outcomes.set(last.taskId, last.value)
  return Array.from(outcomes, ([taskId, value]) => {
    const { order, output } = decodeOutcome(instanceId, value)
    return { taskId, order, output }
  })
    .filter(({ order }) => order !== null)
    .sort((a, b) => (a.order ?? 0) - (b.order ?? 0))
    .map(({ taskId, output }) => ({ taskId, output }))
}

function sizeOf({ results, before, after }: InstanceWrite): number {
  const outputs = results.reduce((sum, { output }) => sum + output.byteLength, 0)
  const input = before === null ? (after.head.initialInput?.byteLength ?? 0) : 0
  return WRITE_BYTES + outputs + input
}
