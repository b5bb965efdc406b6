import * as fc from 'fast-check'
import { expect } from 'vitest'
import type { ClaimedTask, TaskClaimRef } from '../task-claim-store.ts'
import { LONG_MS } from './fixtures.ts'
import { findAll, toRef } from './history-claim-commands.ts'
import { both, type HistoryStore, takeClaimed } from './history-compare.ts'
import type { Available, Committed, ModelClaim } from './history-instance.ts'
import type { Model } from './history-model.ts'
import {
  allowsClaimNext,
  commitInModel,
  fitting,
  OUTCOMES,
  type OutcomeName,
  toOutcome,
} from './history-outcome.ts'
import { aClaim, type ClaimChoice, type HistoryCommand, pickClaim, step } from './history-step.ts'

/** Every task a worker could get: its own failures only where nothing else is left. */
function preferred(offers: readonly Available[], workerId: string): readonly Available[] {
  const others = offers.filter(({ failedBy }) => failedBy !== workerId)
  return others.length > 0 ? others : offers
}

interface CommitArgs {
  readonly claim: ClaimChoice
  readonly byWorker: boolean
  readonly outcome: OutcomeName
  readonly next: boolean
  readonly fits: boolean
}

async function commit(args: CommitArgs, model: Model, { backend }: HistoryStore): Promise<void> {
  const ref = toRef(pickClaim(model, args.claim), args.byWorker)
  const { instanceId, taskId, workerId } = ref
  const output = model.output()
  const isInFork = model.instances.get(instanceId)?.place?.kind === 'fork'
  const outcome = args.fits ? fitting(args.outcome, isInFork) : args.outcome
  const claims = args.next && allowsClaimNext(outcome)
  const result = await both(
    () => commitInModel(model, ref, outcome, output),
    () =>
      backend.commitTask({
        claim: ref,
        outcome: toOutcome(outcome, output, taskId),
        ...(claims ? { claimNext: { ttlMs: LONG_MS } } : undefined),
      }),
  )
  if (result === null) return
  const { committed, repeated, wasPaused } = result.model
  const { revision, status } = committed
  expect(result.store).toMatchObject({ revision, status })
  const { next } = result.store
  const own = model
    .available()
    .filter((one) => one.instance.id === instanceId && one.failedBy !== workerId)
  let looked = false
  if (repeated) expectRepeated(model, committed.next, next)
  else if (!claims || wasPaused) expect(next).toBeNull()
  else if (own.length > 0) takeNext(model, own, committed, next, ref)
  else {
    looked = true
    model.applyIdleSignals()
    takeNext(model, preferred(model.available(), workerId), committed, next, ref)
  }
  // Whether it looked at other instances is then the store's to say: from here on it has.
  if (claims && !looked) await findAll(model, backend, workerId)
}

/** The task that a commit claimed, which is part of it: the commit can still be repeated. */
function takeNext(
  model: Model,
  offers: readonly Available[],
  committed: Committed,
  next: ClaimedTask | null,
  { instanceId, taskId, workerId }: TaskClaimRef,
): void {
  expect(next !== null).toBe(offers.length > 0)
  if (next === null) return
  takeClaimed(model, offers, next, workerId, true)
  committed.next = model.claims.at(-1) ?? null
  model.instances.get(instanceId)?.commits.set(taskId, committed)
}

function expectRepeated(model: Model, first: ModelClaim | null, next: ClaimedTask | null): void {
  const task = first === null ? undefined : model.instances.get(first.instanceId)?.tasks
  const held = first === null ? undefined : task?.get(first.taskId)?.claim
  if (first === null || held?.token !== first.token) expect(next).toBeNull()
  else expect(next?.claim).toMatchObject(first)
}

export const commitTask: fc.Arbitrary<HistoryCommand> = step<CommitArgs>(
  'commitTask',
  {
    claim: aClaim,
    byWorker: fc.nat({ max: 3 }).map((one) => one === 0),
    outcome: fc.constantFrom(...OUTCOMES),
    next: fc.boolean(),
    fits: fc.nat({ max: 5 }).map((one) => one > 0),
  },
  commit,
)
