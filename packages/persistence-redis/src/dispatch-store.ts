import type { BackendError, ClaimTaskParams, TaskClaimRef } from '@sayiir/persistence-core'
import type {
  ClaimedEntry,
  ClaimRequest,
  Dispatched,
  FoundTask,
  HeldClaim,
  OptimisticStore,
  WorkRequest,
} from '@sayiir/persistence-core/adapter'
import { decodeClaim, madeClaim } from './claims.ts'
import type { Argument } from './connection.ts'
import type { StoreContext } from './context.ts'
import {
  type Found,
  orFailure,
  orThrow,
  readable,
  readClaimed,
  readClaims,
  readFound,
  readTexts,
} from './found-tasks.ts'
import type { Shard } from './layout.ts'
import { look } from './look.ts'
import { MessageReader } from './message-reader.ts'
import { compareRanks, rankOf } from './ranks.ts'
import { ShardQueue } from './shard-queue.ts'
import { isSameSearch, pushFilter } from './write-args.ts'

type ClaimChange = Parameters<OptimisticStore['changeClaim']>[1]

interface ClaimCall {
  readonly ref: TaskClaimRef
  readonly change: ClaimChange
}

/** A search for tasks to claim in one shard. */
interface SearchCall {
  readonly request: ClaimRequest
  readonly skipsOwn: boolean
}

/** What a claim in one shard came to. */
interface Claimed extends Found<ClaimedEntry> {
  readonly leftOwn: boolean
}

/** Tasks that one script claims at most. */
const MAX_CLAIMS = 1000

/**
 * Tasks that several searches are for which travel together: while the worker takes in what one script
 * claimed, the next is at work, and no script takes long because many ask at once.
 */
const MAX_TOGETHER = 200

/** Claims, and the search for tasks. */
export class DispatchStore {
  readonly #context: StoreContext
  readonly #searches: ShardQueue<SearchCall, Claimed>
  readonly #changes: ShardQueue<ClaimCall, HeldClaim | null>
  /** Where the next search begins: no shard is always the last, whichever processes there are. */
  #turn: number = Math.floor(Math.random() * 1024)

  constructor(context: StoreContext) {
    this.#context = context
    this.#searches = new ShardQueue<SearchCall, Claimed>(context.layout, {
      timeoutMs: context.options.commandTimeoutMs,
      sizeOf: ({ request }) => request.limit,
      maxSize: MAX_TOGETHER,
      send: (shard, calls) => this.#search(shard, calls),
    })
    this.#changes = new ShardQueue<ClaimCall, HeldClaim | null>(context.layout, {
      timeoutMs: context.options.commandTimeoutMs,
      sizeOf: () => 1,
      maxSize: Number.POSITIVE_INFINITY,
      send: (shard, calls) => this.#change(shard, calls),
    })
  }

  async claimTask({
    instanceId,
    taskId,
    workerId,
    ttlMs,
  }: ClaimTaskParams): ReturnType<OptimisticStore['claimTask']> {
    const { connection, layout, clock } = this.#context
    const shard = layout.shardOf(instanceId)
    const [outcome, described] = (await connection.runOnce('claim-task', shard, shard.keys, [
      clock.latest(connection.timeoutMs),
      instanceId,
      taskId,
      workerId,
      ttlMs ?? '',
    ])) as [Buffer, Buffer]
    const made = new MessageReader(outcome)
    made.array()
    const at = made.number()
    const name = made.text() as 'claimed' | 'missing' | 'unavailable' | 'timer'
    const claim = madeClaim({ workerId, ttlMs }, at, made.number())
    const deliveries = made.number()
    const reader = new MessageReader(described)
    reader.array()
    clock.observe(reader.number())
    if (name !== 'claimed') return { outcome: name }
    const [task] = readable(readClaimed(reader, [{ instanceId, taskId, claim, deliveries }]))
    const stored = task?.stored
    return stored === undefined ? { outcome: name, claim } : { outcome: name, claim, stored }
  }

  async claimAvailable(request: ClaimRequest): Promise<Dispatched<ClaimedEntry>> {
    const { shards } = this.#context.layout
    const first = this.#next()
    if (shards.length === 1) return orThrow(await this.#claimIn(first, request, false))
    const others = shards.filter((shard) => shard !== first)
    const [claimed, ...due] = await Promise.all([
      this.#claimIn(first, request, true),
      ...others.map((shard) => this.#context.connection.run('due', [shard.due], [])),
    ])
    const left = request.limit - claimed.tasks.length
    if (left === 0) {
      // It need not look for tasks elsewhere, but for signals (rule G4).
      const looks = await Promise.all(
        others
          .filter((_, index) => due[index] === 1)
          .map((shard) => look(this.#context, shard, request.filter, request.workerId)),
      )
      return { ...claimed, due: [...claimed.due, ...looks.flatMap((one) => one.due)] }
    }
    const more = await this.#elsewhere({ ...request, limit: left }, first, claimed.leftOwn)
    return orThrow({
      now: more.now,
      tasks: [...claimed.tasks, ...more.tasks],
      due: [...claimed.due, ...more.due],
      failure: claimed.failure ?? more.failure,
    })
  }

  /**
   * Claims in the other shards: looks which have work, then claims there. What the worker failed
   * itself comes last (rule D4), also what was left of it in the shard that was searched first.
   */
  async claimElsewhere(
    request: ClaimRequest,
    searched: Shard,
    leftOwn: boolean,
  ): Promise<Dispatched<ClaimedEntry>> {
    return orThrow(await this.#elsewhere(request, searched, leftOwn))
  }

  async #elsewhere(
    request: ClaimRequest,
    searched: Shard,
    leftOwn: boolean,
  ): Promise<Found<ClaimedEntry>> {
    const turn = this.#next().index
    const { shards } = this.#context.layout
    const others = [...shards.slice(turn), ...shards.slice(0, turn)].filter(
      (shard) => shard !== searched,
    )
    const looks = await Promise.all(
      others.map((shard) => look(this.#context, shard, request.filter, request.workerId)),
    )
    const tasks: ClaimedEntry[] = []
    let now = Math.max(...looks.map((one) => one.now))
    let failure: BackendError | null = null
    const withOwn = leftOwn ? [searched] : []
    const claim = async (shard: Shard, skipsOwn: boolean): Promise<boolean> => {
      if (tasks.length === request.limit) return false
      const limit = request.limit - tasks.length
      const claimed = await this.#claimIn(shard, { ...request, limit }, skipsOwn)
      tasks.push(...claimed.tasks)
      failure ??= claimed.failure
      now = claimed.now
      return claimed.leftOwn
    }
    for (const [index, shard] of others.entries()) {
      const { task = null, isOwnFailure = false } = looks[index] ?? {}
      if (task === null) continue
      if (isOwnFailure || (await claim(shard, true))) withOwn.push(shard)
    }
    for (const shard of withOwn) await claim(shard, false)
    return { now, tasks, due: looks.flatMap((one) => one.due), failure }
  }

  async findAvailable(request: WorkRequest): Promise<Dispatched<FoundTask>> {
    const { layout, options } = this.#context
    const found = await Promise.all(layout.shards.map((shard) => this.#findIn(shard, request)))
    const [only] = found
    if (only !== undefined && found.length === 1) return orThrow(only)
    const tasks = found
      .flatMap((one) => one.tasks)
      .map((task) => ({ task, rank: rankOf(task, request.workerId, options.agingIntervalMs) }))
      .sort((a, b) => compareRanks(a.rank, b.rank))
      .slice(0, request.limit)
      .map(({ task }) => task)
    return orThrow({
      now: Math.max(...found.map((one) => one.now)),
      tasks,
      due: found.flatMap((one) => one.due),
      failure: found.find((one) => one.failure !== null)?.failure ?? null,
    })
  }

  changeClaim(ref: TaskClaimRef, change: ClaimChange): Promise<HeldClaim | null> {
    return this.#changes.call(this.#context.layout.shardOf(ref.instanceId), { ref, change })
  }

  #next(): Shard {
    const { shards } = this.#context.layout
    this.#turn = (this.#turn + 1) % shards.length
    return shards[this.#turn] as Shard
  }

  #claimIn(shard: Shard, request: ClaimRequest, skipsOwn: boolean): Promise<Claimed> {
    return this.#searches.call(shard, { request, skipsOwn })
  }

  /**
   * Searches that are alike but for their limits are one, and what it claims is dealt out in their
   * order: many workers of a process that look at once take the server one look.
   */
  async #search(
    shard: Shard,
    calls: readonly SearchCall[],
  ): Promise<(Claimed | Promise<Claimed>)[]> {
    const [only] = calls
    if (only !== undefined && calls.length === 1) {
      return [await this.#claim(shard, only.request, only.skipsOwn)]
    }
    const groups: SearchCall[][] = []
    for (const call of calls) {
      const group = groups.find(([first]) => first !== undefined && isAlike(first, call))
      const limit = group?.reduce((sum, { request }) => sum + request.limit, call.request.limit)
      if (group === undefined || (limit ?? 0) > MAX_CLAIMS) groups.push([call])
      else group.push(call)
    }
    const claimed = new Map<SearchCall, Promise<Claimed>>()
    for (const group of groups) {
      const [first] = group as [SearchCall]
      const limits = group.map(({ request }) => request.limit)
      const limit = limits.reduce((sum, one) => sum + one, 0)
      const whole = this.#claim(shard, { ...first.request, limit }, first.skipsOwn)
      let from = 0
      for (const [index, call] of group.entries()) {
        const start = from
        from += limits[index] ?? 0
        const end = from
        claimed.set(
          call,
          whole.then((one) => ({
            ...one,
            tasks: one.tasks.slice(start, end),
            // To be taken care of once.
            due: index === 0 ? one.due : [],
          })),
        )
      }
    }
    // One that fails is its callers' to hear of.
    await Promise.allSettled(claimed.values())
    return calls.map((call) => claimed.get(call) as Promise<Claimed>)
  }

  async #claim(shard: Shard, request: ClaimRequest, skipsOwn: boolean): Promise<Claimed> {
    const { connection, options, clock } = this.#context
    for (;;) {
      const latest = clock.latest(connection.timeoutMs)
      const args: Argument[] = [
        options.agingIntervalMs,
        request.limit,
        latest,
        request.workerId,
        request.ttlMs ?? '',
        skipsOwn ? '1' : '',
      ]
      pushFilter(args, request.filter)
      const [outcome, described, ...large] = (await connection.runOnce(
        'claim-available',
        shard,
        shard.keys,
        args,
      )) as [Buffer, Buffer, ...Buffer[]]
      const reader = new MessageReader(described, large)
      reader.array()
      const now = reader.number()
      clock.observe(now)
      // The server's clock was set forward: it took the call for one that was given up.
      if (now > latest) continue
      const made = new MessageReader(outcome)
      made.array()
      const claims = readClaims(made, made.number(), request)
      const leftOwn = made.boolean()
      const due = readTexts(reader)
      return { now, due, leftOwn, ...orFailure(() => readable(readClaimed(reader, claims))) }
    }
  }

  async #findIn(shard: Shard, request: WorkRequest): Promise<Found<FoundTask>> {
    const { connection, options, clock } = this.#context
    const args: Argument[] = ['', '', options.agingIntervalMs, request.limit, request.workerId]
    pushFilter(args, request.filter)
    const [described, claims] = (await connection.run('find-available', shard.keys, args)) as [
      Buffer,
      (Buffer | null)[],
    ]
    const reader = new MessageReader(described)
    reader.array()
    const now = reader.number()
    clock.observe(now)
    const due = readTexts(reader)
    const keys = readTexts(reader)
    return { now, due, ...orFailure(() => readFound(reader, keys, claims)) }
  }

  async #change(shard: Shard, calls: readonly ClaimCall[]): Promise<(HeldClaim | null)[]> {
    const args: Argument[] = [calls.length]
    for (const { ref, change } of calls) {
      const { instanceId, taskId, workerId, token = '' } = ref
      args.push(instanceId, taskId, workerId, token, change.kind)
      args.push(change.kind === 'release' ? 0 : change.ms)
    }
    const { connection } = this.#context
    const values = (await connection.runOnce('change-claim', shard, shard.keys, args)) as Buffer[]
    return values.map((value) => decodeClaim(value)?.held ?? null)
  }
}

function isAlike(a: SearchCall, b: SearchCall): boolean {
  return a.skipsOwn === b.skipsOwn && isSameSearch(a.request, b.request)
}
