import { BackendError, type ClaimTaskParams, type TaskClaimRef } from '@sayiir/persistence-core'
import {
  CallFailure,
  CallQueue,
  type ClaimedEntry,
  type ClaimRequest,
  type Dispatched,
  type FoundTask,
  type HeldClaim,
  type OptimisticStore,
  type StoredInstance,
  type WorkRequest,
} from '@sayiir/persistence-core/adapter'
import type { Client, Row } from './client.ts'
import { filterText } from './filter.ts'
import { plain, texts } from './literals.ts'
import { bytes, forkSlot, json, jsonRows, markOf, number, text, toInstance } from './records.ts'
import { readOne, TASK, TakenRows } from './taken-rows.ts'

/** A row: an array in JSON, of which the first tells the clock, what is due, and the only class of the queue if that has changed; then comes a task. */
const CLAIM_AVAILABLE = `SELECT {s}.claim_available($1::text, $2::text::bigint, $3::text::bigint,
  $4::text, $5::text::bigint, $6::text::integer)`
/** As one such value, in less time. */
const CLAIM_ANY = `SELECT {s}.claim_any($1::text, $2::text::bigint, $3::text::bigint, $4::text,
  $5::text::bigint, {s}.now_ms())`
/** The same where that class is known from the last reply, and not told again if it is still so. */
const CLAIM_ONE = `SELECT {s}.claim_one($1::text, $2::text::bigint, $3::text::bigint, $4::text)`
/** Several in that case. */
const CLAIM_SOME = `SELECT {s}.claim_some($1::text, $2::text::bigint, $3::text::bigint, $4::text,
  $5::text::integer)`

const FIND_AVAILABLE = `SELECT now_ms, array_to_json(due)::text, instance_id, task_id, entries, input, numbers,
  definition_hash, signals, head, initial_input, final_output
  FROM {s}.find_available($1::text::bigint, $2::text::integer, $3::text, $4::text::bigint)`

const CLAIM = `SELECT outcome, task_entries, numbers, definition_hash, signals, head, initial_input, final_output
  FROM {s}.claim_task($1::text, $2::text, $3::text::integer, $4::text, $5::text::bigint)`

const CHANGE = `SELECT n::text, token, claimed_at, expires_at FROM {s}.change_claims($1::text::text[],
  $2::text::text[], $3::text::integer[], $4::text::text[], $5::text::bigint[], $6::text::integer[],
  $7::text::bigint[])`

type ClaimChange = Parameters<OptimisticStore['changeClaim']>[1]

interface ChangeCall {
  readonly ref: TaskClaimRef
  readonly change: ClaimChange
}

const KINDS = { release: 0, extend: 1, renew: 2 } as const
const FOR_EVER = -1
const MAX_CHANGES = 500
const CLAIMS_IN_FLIGHT = 2
/** Tasks that are claimed in one statement at most. */
const MAX_CLAIMED = 1000

/** Claims: made, changed, looked for. */
export class ClaimStore {
  readonly #client: Client
  readonly #agingIntervalMs: number
  readonly #changes: CallQueue<ChangeCall, HeldClaim | null>
  readonly #claims: CallQueue<ClaimRequest, Dispatched<ClaimedEntry>>
  /** Of the last claim. */
  #last: readonly string[] = []
  #lastTtlMs: number | null = null
  /** What a claim is asked for with while the queue has one class that is known, with tasks for this worker. */
  #known: readonly string[] | null = null

  constructor(client: Client, agingIntervalMs: number) {
    this.#client = client
    this.#agingIntervalMs = agingIntervalMs
    this.#changes = new CallQueue({
      maxCalls: MAX_CHANGES,
      maxBytes: Number.POSITIVE_INFINITY,
      maxInFlight: 2,
      sizeOf: () => 1,
      send: (calls) => this.#change(calls),
    })
    this.#claims = new CallQueue({
      maxCalls: MAX_CLAIMED,
      maxBytes: MAX_CLAIMED,
      maxInFlight: CLAIMS_IN_FLIGHT,
      sizeOf: ({ limit }) => limit,
      eager: true,
      aloneAtOnce: true,
      send: (requests) =>
        requests.length === 1
          ? this.#claimFor(requests[0] as ClaimRequest)
          : this.#claimAvailable(requests),
    })
  }

  async claimTask({
    instanceId,
    taskId,
    workerId,
    ttlMs,
  }: ClaimTaskParams): ReturnType<OptimisticStore['claimTask']> {
    const [row = []] = await this.#client.query(CLAIM, [
      ...[instanceId, taskId, String(forkSlot(taskId)), workerId],
      String(ttlMs ?? FOR_EVER),
    ])
    const outcome = text(row, 0)
    if (outcome !== 'claimed') return { outcome: outcome as 'missing' | 'unavailable' | 'timer' }
    const stored = toInstance(row, instanceId, 1, 2)
    const claim = stored.entries.find((entry) => entry.taskId === taskId)?.claim
    return claim == null ? { outcome: 'unavailable' } : { outcome, claim, stored }
  }

  claimAvailable(request: ClaimRequest): Promise<Dispatched<ClaimedEntry>> {
    return this.#claims.call(request)
  }

  async findAvailable({ filter, workerId, limit }: WorkRequest): Promise<Dispatched<FoundTask>> {
    const [first = [], ...rows] = await this.#client.query(FIND_AVAILABLE, [
      ...[
        String(markOf(workerId)),
        String(limit),
        filterText(filter),
        String(this.#agingIntervalMs),
      ],
    ])
    let stored: StoredInstance | undefined
    let at = 0
    const { tasks, failure } = deal(rows.length, () => {
      const row = rows[at] ?? []
      at += 1
      const before = stored
      stored = undefined
      // Left out where it is the one before.
      stored = row[6] === null ? before : toInstance(row, text(row, 2), 4, 6)
      return stored === undefined ? null : toFoundTask(row, stored)
    })
    if (failure !== null && tasks.length === 0) throw failure.error
    return { now: number(first, 0), tasks, due: json<string[]>(first, 1) ?? [] }
  }

  changeClaim(ref: TaskClaimRef, change: ClaimChange): Promise<HeldClaim | null> {
    return this.#changes.call({ ref, change })
  }

  /** Those that ask for the same, together: they get the best in the order in which they came. */
  async #claimAvailable(requests: readonly ClaimRequest[]): Promise<Claimed[]> {
    const replies: Claimed[] = []
    const groups = Map.groupBy(requests.keys(), (index) => groupOf(requests[index]))
    await Promise.all(
      Array.from(groups.values(), async (group) => {
        const own = group.map((index) => requests[index] as ClaimRequest)
        const taken = await this.#claimTogether(own)
        for (const [at, index] of group.entries()) {
          replies[index] = taken[at] as Claimed
        }
      }),
    )
    return replies
  }

  // Without an async function, as all that a lone claim goes through.
  #claimFor(request: ClaimRequest): Promise<Claimed[]> {
    if (request.limit > 1) return this.#claimTogether([request])
    const parameters = this.#parametersOf(request)
    const replied =
      this.#known === null
        ? this.#client.query(CLAIM_ANY, parameters)
        : this.#client.query(CLAIM_ONE, this.#known)
    return replied.then((rows) => {
      const { found, only } = readOne(JSON.parse(text(rows[0] ?? [], 0)), request)
      this.#learn(parameters, only)
      return [found]
    })
  }

  /** What to send when the same is asked for again. */
  #learn(parameters: readonly string[], only: number | null): void {
    if (only === null || parameters !== this.#last) return
    const [workerId = '', mark, ttlMs = '', filter, agingIntervalMs] = parameters
    this.#known =
      only < 0 || ttlMs === String(FOR_EVER)
        ? null
        : [workerId, ttlMs, String(only), `${mark} ${agingIntervalMs} ${filter}`]
  }

  async #claimTogether(requests: readonly ClaimRequest[]): Promise<Claimed[]> {
    const [request] = requests
    if (request === undefined) return []
    const wanted = requests.reduce((sum, { limit }) => sum + limit, 0)
    const parameters = this.#parametersOf(request)
    const known = this.#known
    const rows =
      known === null
        ? await this.#client.query(CLAIM_AVAILABLE, [...parameters, String(wanted)])
        : await this.#client.query(CLAIM_SOME, [...known, String(wanted)])
    const replies = jsonRows(rows)
    const [first = []] = replies
    const now = number(first, 0)
    const due = json<string[]>(first, 1) ?? []
    this.#learn(parameters, first[2] as number | null)
    const taken = new TakenRows(replies, now, first.length > TASK ? 0 : 1, TASK)
    return requests.map(({ limit }, index) => {
      const { tasks, failure } = deal(limit, () => taken.next(request))
      if (failure !== null && tasks.length === 0) return failure
      // One of them takes care of it.
      return { now, tasks, due: index === 0 ? due : [] }
    })
  }

  /** As a rule a worker asks for the same again. */
  #parametersOf({ workerId, ttlMs, filter }: ClaimRequest): readonly string[] {
    const last = this.#last
    const filtered = filterText(filter)
    if (last[0] === workerId && last[3] === filtered && this.#lastTtlMs === ttlMs) return last
    this.#known = null
    this.#lastTtlMs = ttlMs
    this.#last = [
      ...[workerId, String(markOf(workerId)), String(ttlMs ?? FOR_EVER)],
      ...[filtered, String(this.#agingIntervalMs)],
    ]
    return this.#last
  }

  async #change(calls: readonly ChangeCall[]): Promise<(HeldClaim | null)[]> {
    const sorted = calls.map((call, index) => ({ ...call, index }))
    // Always in the same order, so that two processes never wait for each other.
    sorted.sort(
      ({ ref: a }, { ref: b }) =>
        compare(a.instanceId, b.instanceId) || compare(a.taskId, b.taskId),
    )
    const refs = sorted.map(({ ref }) => ref)
    const rows = await this.#client.query(CHANGE, [
      texts(refs.map(({ instanceId }) => instanceId)),
      texts(refs.map(({ taskId }) => taskId)),
      plain(refs.map(({ taskId }) => forkSlot(taskId))),
      texts(refs.map(({ workerId }) => workerId)),
      plain(refs.map(({ token }) => token ?? 0)),
      plain(sorted.map(({ change }) => KINDS[change.kind])),
      plain(sorted.map(({ change }) => (change.kind === 'release' ? 0 : change.ms))),
    ])
    const claims: (HeldClaim | null)[] = calls.map(() => null)
    for (const row of rows) {
      const call = sorted[number(row, 0) - 1]
      if (call === undefined) continue
      claims[call.index] = {
        workerId: call.ref.workerId,
        token: number(row, 1),
        claimedAt: number(row, 2),
        expiresAt: row[3] === null ? null : number(row, 3),
      }
    }
    return claims
  }
}

/** What was found for a call, or why nothing that was can be read. */
type Claimed = Dispatched<ClaimedEntry> | CallFailure

/**
 * So many tasks, or as many as there are. One whose instance can not be read is passed over: it must
 * not take those with it that were claimed in the same step.
 */
function deal<T>(
  count: number,
  next: () => T | null,
): { readonly tasks: T[]; readonly failure: CallFailure | null } {
  const tasks: T[] = []
  let failure: CallFailure | null = null
  for (let dealt = 0; dealt < count; dealt += 1) {
    try {
      const task = next()
      if (task !== null) tasks.push(task)
    } catch (error) {
      if (!BackendError.is(error)) throw error
      failure ??= new CallFailure(error)
    }
  }
  return { tasks, failure }
}

function toFoundTask(row: Row, stored: StoredInstance): FoundTask {
  const input = bytes(row, 5)
  return {
    instanceId: stored.head.instanceId,
    taskId: text(row, 3),
    stored,
    ...(input === null ? undefined : { input }),
  }
}

/** The same for those that ask for the same. */
function groupOf(request: ClaimRequest | undefined): string {
  if (request === undefined) return ''
  const { workerId, ttlMs, filter } = request
  return `${ttlMs} ${JSON.stringify(workerId)} ${filterText(filter)}`
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
