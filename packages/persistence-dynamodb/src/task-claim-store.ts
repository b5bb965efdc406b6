import type { ClaimTaskParams, TaskClaimRef } from '@sayiir/persistence-core'
import {
  type ClaimedEntry,
  type ClaimRequest,
  type Dispatched,
  type FoundTask,
  type HeldClaim,
  isEnded,
  isFree,
  isHeldBy,
  isOpen,
  isServed,
  isUnreadable,
  type OptimisticStore,
  prolonged,
  TIMER_TASK_ID,
  type WorkRequest,
} from '@sayiir/persistence-core/adapter'
import { claim } from './claims.ts'
import type { DueNudge } from './due-nudge.ts'
import type { State } from './instance-item.ts'
import type { Change, InstanceStore } from './instance-store.ts'
import type { WorkFinder } from './work-finder.ts'
import { type Fate, type Turn, WorkPool } from './work-pool.ts'
import type { Candidate } from './work-scan.ts'

/** Looks in a row that may find only tasks which others were faster to claim. */
const MAX_LOOKS = 20

/** Claims: each decided by a compare-and-set of the instance's item. */
export class DynamoDBTaskClaimStore
  implements Pick<OptimisticStore, 'claimTask' | 'claimAvailable' | 'findAvailable' | 'changeClaim'>
{
  readonly #instances: InstanceStore
  readonly #finder: WorkFinder
  readonly #pool: WorkPool

  constructor(instances: InstanceStore, finder: WorkFinder, nudge: DueNudge) {
    this.#instances = instances
    this.#finder = finder
    this.#pool = new WorkPool(finder, nudge, (work) => instances.later(work))
  }

  claimTask(params: ClaimTaskParams): ReturnType<OptimisticStore['claimTask']> {
    const { instanceId, taskId } = params
    type Outcome = Awaited<ReturnType<OptimisticStore['claimTask']>>
    const not = (outcome: 'missing' | 'unavailable' | 'timer'): Change<Outcome> => ({
      next: null,
      answer: () => ({ outcome }),
    })
    return this.#instances.change<Outcome>(instanceId, ({ known, now }) => {
      if (known === null) return not('missing')
      const { state } = known
      const entry = state.entries.find((one) => one.taskId === taskId)
      if (!isOpen(state) || entry === undefined || !isFree(entry, now)) return not('unavailable')
      if (entry.timer) return not('timer')
      const { next, claims } = claim(state, [taskId], params, now)
      const [held] = claims
      if (held === undefined) return not('unavailable')
      return {
        next,
        answer: (after) => ({
          outcome: 'claimed',
          claim: held.claim,
          ...(after === null ? undefined : { stored: after.state }),
        }),
      }
    })
  }

  async claimAvailable(request: ClaimRequest): Promise<Dispatched<ClaimedEntry>> {
    const turn = this.#pool.enter(request.filter)
    const tasks: ClaimedEntry[] = []
    try {
      await this.#claimInto(tasks, turn, request)
    } catch (error) {
      // What has been claimed must reach its worker: nobody else knows of it.
      if (tasks.length === 0) throw error
    }
    return { now: this.#instances.now, tasks, due: this.#pool.takeDue(turn) }
  }

  /** Claims as many as are wanted, if there are so many; those that it has are there also if it throws. */
  async #claimInto(tasks: ClaimedEntry[], turn: Turn, request: ClaimRequest): Promise<void> {
    const { workerId, limit } = request
    // A claim that has expired at once is not claimed again by the same call.
    const mine = new Set<string>()
    const isNew = (one: Candidate): boolean =>
      !mine.has(nameOf(one.known.item.instanceId, one.entry))
    const take = async (candidates: readonly Candidate[]): Promise<void> => {
      const [fresh, expired] = [candidates.filter(isNew), candidates.filter((one) => !isNew(one))]
      for (const one of expired) this.#pool.settle(one, 'unknown')
      const { claimed, failures } = await this.#claimAll(fresh, request)
      for (const one of claimed) mine.add(nameOf(one.instanceId, one))
      tasks.push(...claimed)
      if (failures.length > 0) throw failures[0]
    }
    for (let looks = 0; ; ) {
      const chosen = this.#pool.take(turn, request, limit - tasks.length, this.#instances.now)
      if (chosen.length > 0) {
        await take(chosen)
        if (tasks.length >= limit) break
        continue
      }
      if (looks === MAX_LOOKS) break
      looks += 1
      const { look, isConclusive } = await this.#pool.look(turn, request, limit - tasks.length)
      const others = look.candidates.filter(
        (one) => one.entry.lastFailedWorker !== workerId && isNew(one),
      )
      if (!isConclusive || others.length > 0) continue
      // Nothing else is left: now what this worker failed itself (rule D4).
      await take(look.candidates.filter(isNew).slice(0, limit - tasks.length))
      break
    }
  }

  /** A candidate that is at hand, for a claim in the same round trip as a commit. */
  takeOne(request: ClaimRequest): Candidate | null {
    const turn = this.#pool.enter(request.filter)
    return this.#pool.take(turn, request, 1, this.#instances.now)[0] ?? null
  }

  /** Leaves a candidate that was at hand to whoever looks next. */
  leave(candidate: Candidate): void {
    this.#pool.settle(candidate, 'unknown')
  }

  /** Whether a claim of a candidate often fails, so that it is better known before it is written down. */
  get isContended(): boolean {
    return this.#pool.isContended
  }

  /** Instances that a look on behalf of such a worker found due. */
  takeDue({ filter }: ClaimRequest): string[] {
    return this.#pool.takeDue(this.#pool.enter(filter))
  }

  /** Claims a candidate, with the token that was announced if it is still free. */
  async claimCandidate(
    candidate: Candidate,
    request: ClaimRequest,
    token: number,
  ): Promise<ClaimedEntry | null> {
    const { known, entry } = candidate
    const { instanceId } = known.item
    const promised = { token, life: known.state.life }
    let fate: Fate = 'unknown'
    try {
      const [claimed] = await this.#claimOf(instanceId, [entry.taskId], request, promised)
      fate = claimed === undefined ? 'lost' : 'claimed'
      if (fate === 'lost') this.#pool.lost()
      return claimed ?? null
    } finally {
      this.#pool.settle(candidate, fate)
    }
  }

  /** Undoes a claim that came to nothing, as if it had not been. */
  undo({ instanceId, taskId, claim: { token } }: ClaimedEntry): Promise<void> {
    return this.#instances.change<void>(instanceId, ({ known }) => {
      const nothing = { next: null, answer: () => undefined }
      const entry = known?.state.entries.find((one) => one.taskId === taskId)
      if (known === null || entry?.claim?.token !== token) return nothing
      const { state } = known
      const free = { ...entry, claim: null, deliveries: entry.deliveries - 1 }
      return {
        next: { ...state, entries: state.entries.map((one) => (one === entry ? free : one)) },
        answer: () => undefined,
      }
    })
  }

  async findAvailable(request: WorkRequest): Promise<Dispatched<FoundTask>> {
    const { now, candidates, due } = await this.#finder.look(request, {
      need: request.limit,
      ahead: request.limit,
    })
    const tasks = candidates.slice(0, request.limit).map(({ known, entry }) => ({
      instanceId: known.item.instanceId,
      taskId: entry.taskId,
      stored: known.state,
      ...outputsAtHand(known.state, entry.taskId),
    }))
    return { now, tasks, due }
  }

  changeClaim(
    ref: TaskClaimRef,
    change: Parameters<OptimisticStore['changeClaim']>[1],
  ): Promise<HeldClaim | null> {
    const { instanceId, taskId } = ref
    return this.#instances.change<HeldClaim | null>(instanceId, ({ known, now }) => {
      const nothing = { next: null, answer: () => null }
      if (known === null || isEnded(known.state.head.state.status)) return nothing
      const { state } = known
      const entry = state.entries.find((one) => one.taskId === taskId)
      if (entry === undefined || entry.claim === null || !isHeldBy(entry, ref)) return nothing
      const held = entry.claim
      const changed =
        change.kind === 'release'
          ? null
          : { ...held, expiresAt: prolonged(held.expiresAt, change, now) }
      return {
        next: {
          ...state,
          entries: state.entries.map((one) => (one === entry ? { ...entry, claim: changed } : one)),
        },
        answer: () => changed ?? held,
      }
    })
  }

  /** Claims tasks, those of an instance together; those that others took meanwhile are left out. */
  async #claimAll(
    candidates: readonly Candidate[],
    request: ClaimRequest,
  ): Promise<{ readonly claimed: ClaimedEntry[]; readonly failures: readonly unknown[] }> {
    const byInstance = Map.groupBy(candidates, ({ known }) => known.item.instanceId)
    const byTask = new Map<string, ClaimedEntry>()
    const failed = new Map<string, unknown>()
    await Promise.all(
      Array.from(byInstance, async ([instanceId, wanted]) => {
        const taskIds = wanted.map(({ entry }) => entry.taskId)
        try {
          for (const one of await this.#claimOf(instanceId, taskIds, request))
            byTask.set(nameOf(instanceId, one), one)
        } catch (error) {
          failed.set(instanceId, error)
        }
      }),
    )
    let isLost = false
    for (const one of candidates) {
      const { instanceId } = one.known.item
      const isClaimed = byTask.has(nameOf(instanceId, one.entry))
      const fate = isClaimed ? 'claimed' : failed.has(instanceId) ? 'unknown' : 'lost'
      isLost ||= fate === 'lost'
      this.#pool.settle(one, fate)
    }
    if (isLost) this.#pool.lost()
    const claimed = candidates.flatMap(({ known, entry }) => {
      const one = byTask.get(nameOf(known.item.instanceId, entry))
      return one === undefined ? [] : [one]
    })
    return { claimed, failures: [...failed.values()] }
  }

  /** Claims tasks of an instance. One that can no longer be read has none to give, and must hold up no other. */
  async #claimOf(
    instanceId: string,
    taskIds: readonly string[],
    request: ClaimRequest,
    promised: { readonly token: number; readonly life: string } | null = null,
  ): Promise<ClaimedEntry[]> {
    try {
      return await this.#claimReadable(instanceId, taskIds, request, promised)
    } catch (error) {
      if (isUnreadable(error)) return []
      throw error
    }
  }

  #claimReadable(
    instanceId: string,
    taskIds: readonly string[],
    request: ClaimRequest,
    promised: { readonly token: number; readonly life: string } | null,
  ): Promise<ClaimedEntry[]> {
    const wanted = new Set(taskIds)
    return this.#instances.change<ClaimedEntry[]>(instanceId, ({ known, now }) => {
      const nothing = { next: null, answer: () => [] }
      if (known === null || !isOpen(known.state)) return nothing
      const { state } = known
      const free = state.entries
        .filter(
          (entry) =>
            wanted.has(entry.taskId) &&
            entry.taskId !== TIMER_TASK_ID &&
            isFree(entry, now) &&
            isServed(request.filter, state.head.definitionHash, entry.tags),
        )
        .map(({ taskId }) => taskId)
      if (free.length === 0) return nothing
      const token = promised?.life === state.life ? promised.token : null
      const { next, claims } = claim(state, free, request, now, token)
      return {
        next,
        answer: (after) =>
          claims.map((held, index) => {
            const taskId = free[index] as string
            const stored = after?.state ?? next
            return { instanceId, taskId, ...held, stored, ...outputsAtHand(stored, taskId) }
          }),
      }
    })
  }
}

function nameOf(instanceId: string, { taskId }: { readonly taskId: string }): string {
  return JSON.stringify([instanceId, taskId])
}

/** Outputs that came with the instance's item, so that they need not be read. */
function outputsAtHand(state: State, taskId: string): Pick<FoundTask, 'input' | 'outputs'> {
  const outputs = new Map<string, Uint8Array>()
  for (const { taskId: of, result } of state.tail) {
    // A copy: what is remembered here is not for callers to write into.
    if (result != null && result.output instanceof Uint8Array)
      outputs.set(of, result.output.slice())
  }
  const inputTaskId = state.entries.find((one) => one.taskId === taskId)?.inputTaskId ?? null
  const input = inputTaskId === null ? undefined : outputs.get(inputTaskId)
  return { ...(input === undefined ? undefined : { input }), outputs }
}
