import type { TaskClaimCalls } from '../checked-calls.ts'
import { isHeldBy, type Prolongation } from '../dispatch.ts'
import { BackendError, claimLost, notFound, quote, terminal } from '../errors.ts'
import { isEnded } from '../snapshot.ts'
import type {
  AvailableTask,
  ClaimedTask,
  ClaimTaskParams,
  ClaimTasksParams,
  CommitReceipt,
  CommitTaskParams,
  FindTasksParams,
  TaskClaim,
  TaskClaimRef,
  TaskWakeup,
  WaitForWakeupParams,
} from '../task-claim-store.ts'
import { toClaimedTask, toFoundTask } from './claimed-task.ts'
import { decideCommit } from './commit.ts'
import { withClaim } from './instance-edit.ts'
import type { Session } from './session.ts'
import { settle, settleOne } from './settle.ts'

/** A claim that changes hands this often between two round trips is not to be expected. */
const MAX_TRIES = 100

/** Claims and dispatch. */
export class OptimisticTaskClaimStore implements TaskClaimCalls {
  readonly #session: Session

  constructor(session: Session) {
    this.#session = session
  }

  async claimTask(params: ClaimTaskParams): Promise<TaskClaim | null> {
    const { instanceId, taskId } = params
    const { store, cache } = this.#session
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const result = await store.claimTask(params)
      if (result.outcome === 'claimed') {
        const { claim, stored } = result
        if (stored !== undefined) cache.set(withClaim(stored, taskId, claim))
        else cache.delete(instanceId)
        return { instanceId, taskId, ...claim }
      }
      if (result.outcome === 'missing') throw notFound(instanceId)
      if (result.outcome === 'unavailable') return null
      await settleOne(this.#session, instanceId)
    }
    throw tooBusy(params)
  }

  async releaseTaskClaim(ref: TaskClaimRef): Promise<void> {
    const { instanceId, taskId } = ref
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const released = await this.#session.store.changeClaim(ref, { kind: 'release' })
      if (released !== null) return this.#session.cache.delete(instanceId)
      const { stored } = await this.#session.read(instanceId)
      if (stored === null) throw notFound(instanceId)
      const entry = stored.entries.find((one) => one.taskId === taskId)
      // Nobody holds it: there is nothing to give up.
      if (entry?.claim == null) return
      if (!isHeldBy(entry, ref)) throw claimLost(instanceId, taskId)
    }
    throw tooBusy(ref)
  }

  async prolongTaskClaim(ref: TaskClaimRef, prolongation: Prolongation): Promise<TaskClaim> {
    const { instanceId, taskId } = ref
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const claim = await this.#session.store.changeClaim(ref, prolongation)
      if (claim !== null) return { instanceId, taskId, ...claim }
      const { stored } = await this.#session.read(instanceId)
      if (stored === null) throw notFound(instanceId)
      const { status } = stored.head.state
      if (isEnded(status)) throw terminal(instanceId, status)
      const entry = stored.entries.find((one) => one.taskId === taskId)
      if (!isHeldBy(entry, ref)) throw claimLost(instanceId, taskId)
    }
    throw tooBusy(ref)
  }

  async findAvailableTasks({
    workerId,
    limit,
    ...filter
  }: FindTasksParams): Promise<AvailableTask[]> {
    const session = this.#session
    const found = await session.store.findAvailable({ filter, workerId, limit })
    session.saw(found.now)
    if (found.due.length > 0) await settle(session, found.due)
    return present(await Promise.all(found.tasks.map((task) => toFoundTask(session, task))))
  }

  async claimAvailableTasks({
    workerId,
    limit,
    ttlMs,
    ...filter
  }: ClaimTasksParams): Promise<ClaimedTask[]> {
    const session = this.#session
    const found = await session.store.claimAvailable({ filter, workerId, limit, ttlMs })
    session.saw(found.now)
    if (found.due.length > 0) await settle(session, found.due)
    const { tasks } = found
    const [first] = tasks
    if (first === undefined) return []
    if (tasks.length === 1) {
      const only = toClaimedTask(session, first)
      const task = only instanceof Promise ? await only : only
      return task === null ? [] : [task]
    }
    const claimed = tasks.map((task) => toClaimedTask(session, task))
    // At hand as a rule: then nothing is waited for.
    const isAtHand = claimed.every((task) => !(task instanceof Promise))
    return present(isAtHand ? (claimed as (ClaimedTask | null)[]) : await Promise.all(claimed))
  }

  commitTask(params: CommitTaskParams): Promise<CommitReceipt> {
    const session = this.#session
    const { instanceId } = params.claim
    return session.changeExisting(
      instanceId,
      (before, basis) => decideCommit(session, before, basis, params),
      { guess: session.cache.get(instanceId) ?? undefined },
    )
  }

  waitForWakeup(
    params: WaitForWakeupParams,
    signal: AbortSignal | undefined,
  ): Promise<TaskWakeup | null> {
    const { lifecycle, store } = this.#session
    return store.waitForWakeup(params, signal, lifecycle.closing, (due) =>
      settle(this.#session, due),
    )
  }
}

function present<T>(tasks: readonly (T | null)[]): T[] {
  return tasks.filter((task) => task !== null)
}

function tooBusy({ instanceId, taskId }: { instanceId: string; taskId: string }): BackendError {
  return new BackendError(
    'UNAVAILABLE',
    `task ${quote(taskId)} of instance ${quote(instanceId)} changes hands too often; try again later`,
    { instanceId, taskId },
  )
}
