import type { Abortable } from '../backend.ts'
import { checkTtl } from '../check.ts'
import {
  checkAbortable,
  checkClaimRef,
  checkClaimTaskParams,
  checkClaimTasksParams,
  checkCommitParams,
  checkFindParams,
  checkWaitParams,
} from '../check-params.ts'
import { isHeldBy } from '../dispatch.ts'
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
  TaskClaimStore,
  TaskWakeup,
  WaitForWakeupParams,
} from '../task-claim-store.ts'
import { toClaimedTask, toFoundTask } from './claimed-task.ts'
import { decideCommit } from './commit.ts'
import { withClaim } from './instance-edit.ts'
import type { Session } from './session.ts'
import { settle } from './settle.ts'
import type { Dispatched, FoundTask } from './store.ts'

/** A claim that changes hands this often between two round trips is not to be expected. */
const MAX_TRIES = 100

/** Claims and dispatch. */
export class OptimisticTaskClaimStore implements TaskClaimStore {
  readonly #session: Session

  constructor(session: Session) {
    this.#session = session
  }

  async claimTask(params: ClaimTaskParams, options?: Abortable): Promise<TaskClaim | null> {
    const checked = checkClaimTaskParams(params)
    const { instanceId, taskId } = checked
    const { lifecycle, store, cache } = this.#session
    return lifecycle.run(checkAbortable(options), async () => {
      for (let tries = 0; tries < MAX_TRIES; tries += 1) {
        const result = await store.claimTask(checked)
        if (result.outcome === 'claimed') {
          const { claim, stored } = result
          if (stored !== undefined) cache.set(withClaim(stored, taskId, claim))
          else cache.delete(instanceId)
          return { instanceId, taskId, ...claim }
        }
        if (result.outcome === 'missing') throw notFound(instanceId)
        if (result.outcome === 'unavailable') return null
        await settle(this.#session, [instanceId])
      }
      throw tooBusy(checked)
    })
  }

  async releaseTaskClaim(claim: TaskClaimRef, options?: Abortable): Promise<void> {
    const ref = checkClaimRef(claim)
    return this.#session.lifecycle.run(checkAbortable(options), async () => {
      for (let tries = 0; tries < MAX_TRIES; tries += 1) {
        const released = await this.#session.store.changeClaim(ref, { kind: 'release' })
        if (released !== null) return this.#session.cache.delete(ref.instanceId)
        const { stored } = await this.#session.read(ref.instanceId)
        if (stored === null) throw notFound(ref.instanceId)
        const entry = stored.entries.find(({ taskId }) => taskId === ref.taskId)
        // Nobody holds it: there is nothing to give up.
        if (entry?.claim == null) return
        if (!isHeldBy(entry, ref)) throw claimLost(ref.instanceId, ref.taskId)
      }
      throw tooBusy(ref)
    })
  }

  async extendTaskClaim(
    claim: TaskClaimRef,
    additionalMs: number,
    options?: Abortable,
  ): Promise<TaskClaim> {
    const ref = checkClaimRef(claim)
    const ms = checkTtl(additionalMs, 'additionalMs')
    return this.#prolong(ref, { kind: 'extend', ms }, options)
  }

  async renewTaskClaim(
    claim: TaskClaimRef,
    ttlMs: number,
    options?: Abortable,
  ): Promise<TaskClaim> {
    const ref = checkClaimRef(claim)
    const ms = checkTtl(ttlMs, 'ttlMs')
    return this.#prolong(ref, { kind: 'renew', ms }, options)
  }

  async findAvailableTasks(params: FindTasksParams, options?: Abortable): Promise<AvailableTask[]> {
    const { workerId, limit, ...filter } = checkFindParams(params)
    const session = this.#session
    return session.lifecycle.run(checkAbortable(options), async () => {
      const found = await session.store.findAvailable({ filter, workerId, limit })
      const tasks = await this.#takeCare(found)
      return present(await Promise.all(tasks.map((task) => toFoundTask(session, task))))
    })
  }

  async claimAvailableTasks(params: ClaimTasksParams, options?: Abortable): Promise<ClaimedTask[]> {
    const { workerId, limit, ttlMs, ...filter } = checkClaimTasksParams(params)
    const session = this.#session
    return session.lifecycle.run(checkAbortable(options), async () => {
      const claimed = await session.store.claimAvailable({ filter, workerId, limit, ttlMs })
      const tasks = await this.#takeCare(claimed)
      return present(await Promise.all(tasks.map((task) => toClaimedTask(session, task))))
    })
  }

  async commitTask(params: CommitTaskParams, options?: Abortable): Promise<CommitReceipt> {
    const session = this.#session
    const checked = checkCommitParams(params, session.options.maxPayloadBytes)
    const { instanceId } = checked.claim
    return session.lifecycle.run(checkAbortable(options), () =>
      session.changeExisting(
        instanceId,
        (before, basis) => decideCommit(session, before, basis, checked),
        { guess: session.cache.get(instanceId) ?? undefined },
      ),
    )
  }

  async waitForWakeup(
    params: WaitForWakeupParams,
    options?: Abortable,
  ): Promise<TaskWakeup | null> {
    const checked = checkWaitParams(params)
    const signal = checkAbortable(options)
    const { lifecycle, store } = this.#session
    return lifecycle.run(signal, () =>
      store.waitForWakeup(checked, signal, lifecycle.closing, (due) => settle(this.#session, due)),
    )
  }

  /** Does what a look for work asks for besides; the tasks that it brought. */
  async #takeCare<T extends FoundTask>({ now, tasks, due }: Dispatched<T>): Promise<readonly T[]> {
    this.#session.saw(now)
    if (due.length > 0) await settle(this.#session, due)
    return tasks
  }

  async #prolong(
    ref: TaskClaimRef,
    change: { readonly kind: 'extend' | 'renew'; readonly ms: number },
    options: Abortable | undefined,
  ): Promise<TaskClaim> {
    const { instanceId, taskId } = ref
    return this.#session.lifecycle.run(checkAbortable(options), async () => {
      for (let tries = 0; tries < MAX_TRIES; tries += 1) {
        const claim = await this.#session.store.changeClaim(ref, change)
        if (claim !== null) return { instanceId, taskId, ...claim }
        const { stored } = await this.#session.read(instanceId)
        if (stored === null) throw notFound(instanceId)
        const { status } = stored.head.state
        if (isEnded(status)) throw terminal(instanceId, status)
        const entry = stored.entries.find((one) => one.taskId === taskId)
        if (!isHeldBy(entry, ref)) throw claimLost(instanceId, taskId)
      }
      throw tooBusy(ref)
    })
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
