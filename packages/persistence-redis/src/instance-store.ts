import type { TaskResult } from '@sayiir/persistence-core'
import {
  type ClaimedEntry,
  type ClaimRequest,
  type CommitRecord,
  type Dispatched,
  type InstanceWrite,
  isUnreadable,
  type OptimisticStore,
  type WriteResult,
} from '@sayiir/persistence-core/adapter'
import { decodeClaim } from './claims.ts'
import type { StoreContext } from './context.ts'
import type { DispatchStore } from './dispatch-store.ts'
import type { Shard } from './layout.ts'
import { decodeOutcome, splitNewest, toBytesOrNull } from './outcomes.ts'
import { asPlainCommit, commitArguments, type PlainCommit } from './plain-commits.ts'
import { creationArguments } from './plain-creations.ts'
import { readStart, startArguments } from './plain-start.ts'
import { decodeInstance } from './records.ts'
import { ShardQueue } from './shard-queue.ts'
import { writeArguments } from './write-args.ts'
import { readResults } from './write-results.ts'

/** Bytes of a write beside its payloads, roughly. */
const WRITE_BYTES = 600
/** Bytes that travel together. */
const MAX_BYTES: number = 1024 * 1024
/** Next tasks that are looked for in the shard of the commit before the other shards have a turn. */
const STAYS = 16

/** Instances, their results and their events: reading them, and the compare-and-set. */
export class InstanceStore {
  readonly #context: StoreContext
  readonly #dispatch: DispatchStore
  readonly #writes: ShardQueue<InstanceWrite, WriteResult>
  readonly #commits: ShardQueue<PlainCommit, WriteResult>
  readonly #creations: ShardQueue<InstanceWrite, WriteResult>
  #stays = 0

  constructor(context: StoreContext, dispatch: DispatchStore) {
    this.#context = context
    this.#dispatch = dispatch
    const timeoutMs = context.options.commandTimeoutMs
    this.#writes = new ShardQueue<InstanceWrite, WriteResult>(context.layout, {
      timeoutMs,
      sizeOf,
      maxSize: MAX_BYTES,
      send: (shard, writes) => this.#send(shard, writes),
    })
    this.#creations = new ShardQueue<InstanceWrite, WriteResult>(context.layout, {
      timeoutMs,
      sizeOf,
      maxSize: MAX_BYTES,
      send: (shard, writes) => this.#create(shard, writes),
    })
    this.#commits = new ShardQueue<PlainCommit, WriteResult>(context.layout, {
      timeoutMs,
      sizeOf,
      maxSize: MAX_BYTES,
      send: (shard, commits) => this.#sendPlain(shard, commits),
    })
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
          : decodeInstance(instanceId, record.toString(), claims.map(decodeClaim), {
              initialInput: toBytesOrNull(initialInput),
              finalOutput: toBytesOrNull(finalOutput),
            }),
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
      stored: decodeInstance(instanceId, record.toString(), claims.map(decodeClaim), {
        initialInput: toBytesOrNull(initialInput),
        finalOutput: toBytesOrNull(finalOutput),
      }),
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

  write(write: InstanceWrite): Promise<WriteResult> {
    const { claimNext } = write
    if (claimNext === null || this.#context.layout.shards.length === 1) return this.#write(write)
    return claimNext.own === null && this.#isTurnOfOthers()
      ? this.#writeAndMove(write, claimNext.request)
      : this.#writeAndLook(write, claimNext.request)
  }

  #write(write: InstanceWrite): Promise<WriteResult> {
    const shard = this.#context.layout.shardOf(write.instanceId)
    const plain = asPlainCommit(write)
    if (plain !== null) return this.#commits.call(shard, plain)
    return (write.plain === 'start' ? this.#creations : this.#writes).call(shard, write)
  }

  /** A worker that went on in its shard for as long as there is work would leave the others without any. */
  #isTurnOfOthers(): boolean {
    this.#stays = (this.#stays + 1) % STAYS
    return this.#stays === 0
  }

  /** Claims in another shard what a write asked for and its own did not have. */
  async #writeAndLook(write: InstanceWrite, request: ClaimRequest): Promise<WriteResult> {
    const result = await this.#write(write)
    if (!result.written || result.next !== null) return result
    const shard = this.#context.layout.shardOf(write.instanceId)
    return this.#with(write, result, this.#dispatch.claimElsewhere(request, shard, true))
  }

  /** Claims as a worker does that begins. */
  async #writeAndMove(write: InstanceWrite, request: ClaimRequest): Promise<WriteResult> {
    const result = await this.#write({ ...write, claimNext: null })
    if (!result.written) return result
    return this.#with(write, result, this.#dispatch.claimAvailable(request))
  }

  /** What was claimed in a second step, noted with the commit that it came with. */
  async #with(
    { instanceId, commit }: InstanceWrite,
    result: Extract<WriteResult, { written: true }>,
    claiming: Promise<Dispatched<ClaimedEntry>>,
  ): Promise<WriteResult> {
    const { connection, layout } = this.#context
    const claimed = await claiming.catch((error: unknown) => {
      if (isUnreadable(error)) return null
      throw error
    })
    // What was written is written, whether or not the task that it brought can be read.
    if (claimed === null) return result
    const { tasks, due } = claimed
    const [next = null] = tasks
    if (next !== null && commit !== null) {
      const shard = layout.shardOf(instanceId)
      const noted = `${next.instanceId}\0${next.taskId}\0${next.claim.token}\0`
      await connection.run(
        'note-next',
        [...shard.keys, shard.results(instanceId)],
        [instanceId, commit.taskId, commit.token, noted],
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

  #send(shard: Shard, writes: readonly InstanceWrite[]): Promise<readonly WriteResult[]> {
    const { connection, options, layout } = this.#context
    const { keys, message } = writeArguments(
      shard,
      options.agingIntervalMs,
      layout.shards.length > 1,
      writes,
    )
    return connection
      .runOnce('write', shard, keys, [], message)
      .then((reply) => this.#read(reply, writes).results)
  }

  #create(shard: Shard, writes: readonly InstanceWrite[]): Promise<readonly WriteResult[]> {
    const { connection } = this.#context
    const [only] = writes
    const start = only !== undefined && writes.length === 1 ? startArguments(only) : null
    if (start !== null) {
      return connection
        .runOnce('start', shard, shard.keys, start.args, start.message)
        .then((reply) => [readStart(reply as Buffer, this.#observeTime)])
    }
    const { keys, message } = creationArguments(shard, writes)
    return connection
      .runOnce('create', shard, keys, [], message)
      .then((reply) => this.#read(reply, writes).results)
  }

  #sendPlain(
    shard: Shard,
    commits: readonly PlainCommit[],
  ): Promise<readonly (WriteResult | Promise<WriteResult>)[]> {
    const { connection, options, layout } = this.#context
    const { keys, message } = commitArguments(
      shard,
      options.agingIntervalMs,
      layout.shards.length > 1,
      commits,
    )
    return connection.runOnce('commit', shard, keys, [], message).then((reply) => {
      const { states, results } = this.#read(reply, commits)
      if (/^[123]+$/.test(states)) return results
      // Nothing was written: some were refused, and the others are to be written another way.
      return commits.map((commit, index) =>
        states[index] === '0' ? (results[index] as WriteResult) : this.#writes.call(shard, commit),
      )
    })
  }

  #read(reply: unknown, writes: readonly InstanceWrite[]): ReturnType<typeof readResults> {
    return readResults(reply as [Buffer, Buffer, ...Buffer[]], writes, this.#observeTime)
  }

  readonly #observeTime = (now: number): void => this.#context.clock.observe(now)

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
  let outputs = 0
  for (const { output } of results) outputs += output.byteLength
  const input = before === null ? (after.head.initialInput?.byteLength ?? 0) : 0
  return WRITE_BYTES + outputs + input
}
