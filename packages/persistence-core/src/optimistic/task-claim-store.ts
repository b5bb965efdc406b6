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
import type { ClaimedEntry } from './store.ts'

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
    return present(found.tasks.map((task) => toFoundTask(session, task)))
  }

  // Without async functions: who claims one task at a time waits for each of their promises.
  claimAvailableTasks({
    workerId,
    limit,
    ttlMs,
    ...filter
  }: ClaimTasksParams): Promise<ClaimedTask[]> {
    const session = this.#session
    return session.store
      .claimAvailable({ filter, workerId, limit, ttlMs })
      .then(({ now, tasks, due }) => {
        session.saw(now)
        return due.length === 0
          ? toClaimedTasks(session, tasks)
          : settle(session, due).then(() => toClaimedTasks(session, tasks))
      })
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

/** At once, where all that they need came along. */
function toClaimedTasks(
  session: Session,
  tasks: readonly ClaimedEntry[],
): ClaimedTask[] | Promise<ClaimedTask[]> {
  const claimed = tasks.map((task) => toClaimedTask(session, task))
  return claimed.every(isAtHand) ? claimed.filter((task) => task !== null) : present(claimed)
}

function isAtHand<T>(task: T | Promise<T>): task is T {
  return !(task instanceof Promise)
}

/**
 * Tasks that are there. One of which an output can not be read, say, must not take those with it that
 * were claimed in the same step: nobody else knows of them. Throws where none is left.
 */
async function present<T>(tasks: readonly (T | null | Promise<T | null>)[]): Promise<T[]> {
  const there: T[] = []
  let failure: BackendError | null = null
  for (const result of await Promise.allSettled(tasks)) {
    if (result.status === 'rejected') {
      if (!BackendError.is(result.reason)) throw result.reason
      failure ??= result.reason
    } else if (result.value !== null) there.push(result.value)
  }
  if (failure !== null && there.length === 0) throw failure
  return there
}

function tooBusy({ instanceId, taskId }: { instanceId: string; taskId: string }): BackendError {
  return new BackendError(
    'UNAVAILABLE',
    `task ${quote(taskId)} of instance ${quote(instanceId)} changes hands too often; try again later`,
    { instanceId, taskId },
  )
}
