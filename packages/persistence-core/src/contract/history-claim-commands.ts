import * as fc from 'fast-check'
import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { TaskClaimRef } from '../task-claim-store.ts'
import { LONG_MS } from './fixtures.ts'
import { agree, both, compareTasks, takeClaimed } from './history-compare.ts'
import type { Available, Instance, ModelClaim } from './history-instance.ts'
import type { Model } from './history-model.ts'
import {
  aClaim,
  anInstance,
  aWorker,
  type ClaimChoice,
  type HistoryCommand,
  pickClaim,
  step,
} from './history-step.ts'

/** The claim's name, by token or by its worker alone. */
export function toRef({ token, ...ref }: ModelClaim, byWorker: boolean): TaskClaimRef {
  return byWorker ? ref : { ...ref, token }
}

/** One that is to expire has done so when this is over. */
function ttlOf(live: boolean): number {
  return live ? LONG_MS : 1
}

/** Finds everything, as the model does. */
export async function findAll(
  model: Model,
  backend: PersistentBackend,
  workerId: string,
): Promise<void> {
  const tasks = await backend.findAvailableTasks({ workerId, limit: 1000 })
  compareTasks(model.findAll(), tasks, workerId)
}

export const find: fc.Arbitrary<HistoryCommand> = step<{ worker: string }>(
  'find',
  { worker: aWorker },
  ({ worker }, model, { backend }) => findAll(model, backend, worker),
)

export const wait: fc.Arbitrary<HistoryCommand> = step(
  'waitForWakeup',
  {},
  async (_, model, { backend }) => {
    model.applyIdleSignals()
    const isThere = model.available().length > 0
    expect((await backend.waitForWakeup({ timeoutMs: 0 })) !== null).toBe(isThere)
  },
)

/** A task that the instance may have, or has not. */
function taskIn(instance: Instance | undefined, index: number): string {
  const place = instance?.place
  const after = place != null && 'task' in place && place.task !== null ? [place.task] : []
  return [...(instance?.tasks.keys() ?? []), ...after][index] ?? 'b'
}

export const claimTask: fc.Arbitrary<HistoryCommand> = step<{
  instance: string
  task: number
  worker: string
  live: boolean
}>(
  'claimTask',
  {
    instance: anInstance,
    task: fc.nat({ max: 4 }),
    worker: aWorker,
    live: fc.boolean(),
  },
  async ({ instance: instanceId, task, worker: workerId, live }, model, store) => {
    const { backend } = store
    const taskId = taskIn(model.instances.get(instanceId), task)
    const result = await both(
      () => {
        const instance = model.get(instanceId)
        return model
          .available()
          .some((offer) => offer.instance === instance && offer.taskId === taskId)
      },
      () => backend.claimTask({ instanceId, taskId, workerId, ttlMs: ttlOf(live) }),
    )
    if (result === null) return
    expect(result.store !== null).toBe(result.model)
    if (result.store === null) return
    expect(result.store).toMatchObject({ instanceId, taskId, workerId })
    model.claimed({ instanceId, taskId, workerId, token: result.store.token }, live)
    if (!live) await store.elapse()
  },
)

export const claimAvailable: fc.Arbitrary<HistoryCommand> = step<{
  worker: string
  limit: number
  live: boolean
}>(
  'claimAvailableTasks',
  { worker: aWorker, limit: fc.integer({ min: 1, max: 3 }), live: fc.boolean() },
  async ({ worker: workerId, limit, live }, model, store) => {
    const { backend } = store
    model.applyIdleSignals()
    const offers = model.available()
    const claimed = await backend.claimAvailableTasks({ workerId, limit, ttlMs: ttlOf(live) })
    expect(claimed).toHaveLength(Math.min(limit, offers.length))
    const names = claimed.map(({ task }) => `${task.instanceId}/${task.taskId}`)
    expect(new Set(names).size).toBe(names.length)
    const isWanted = ({ failedBy }: Available): boolean => failedBy !== workerId
    const wanted = offers.filter(isWanted)
    const got = claimed.filter(({ task }) =>
      wanted.some((offer) => offer.instance.id === task.instanceId && offer.taskId === task.taskId),
    )
    expect(got).toHaveLength(Math.min(limit, wanted.length))
    for (const one of claimed) takeClaimed(model, offers, one, workerId, live)
    if (!live) await store.elapse()
  },
)

export const renew: fc.Arbitrary<HistoryCommand> = step<{
  claim: ClaimChoice
  byWorker: boolean
  live: boolean
}>(
  'renewTaskClaim',
  { claim: aClaim, byWorker: fc.boolean(), live: fc.boolean() },
  async ({ claim: back, byWorker, live }, model, store) => {
    const { backend } = store
    const ref = toRef(pickClaim(model, back), byWorker)
    const result = await both(
      () => model.held(ref),
      () => backend.renewTaskClaim(ref, ttlOf(live)),
    )
    if (result === null) return
    expect(result.store).toMatchObject({ token: result.model.claim?.token })
    result.model.live = live
    if (!live) await store.elapse()
  },
)

export const extend: fc.Arbitrary<HistoryCommand> = step<{ claim: ClaimChoice }>(
  'extendTaskClaim',
  { claim: aClaim },
  async ({ claim: back }, model, { backend }) => {
    const ref = pickClaim(model, back)
    const result = await both(
      () => model.held(ref),
      () => backend.extendTaskClaim(ref, LONG_MS),
    )
    if (result !== null) result.model.live = true
  },
)

export const release: fc.Arbitrary<HistoryCommand> = step<{
  claim: ClaimChoice
  byWorker: boolean
}>(
  'releaseTaskClaim',
  { claim: aClaim, byWorker: fc.boolean() },
  async ({ claim: back, byWorker }, model, { backend }) => {
    const ref = toRef(pickClaim(model, back), byWorker)
    await agree(
      () => {
        // Of an ended instance, or a task that nobody holds, there is nothing to release.
        const task = model.get(ref.instanceId).tasks.get(ref.taskId)
        if (task?.claim != null) model.held(ref).claim = null
      },
      () => backend.releaseTaskClaim(ref),
    )
  },
)
