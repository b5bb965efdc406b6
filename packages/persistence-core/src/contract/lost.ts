import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { TaskClaim, TaskClaimRef, TaskOutcome } from '../task-claim-store.ts'
import { completeTask, moveTo } from '../transitions.ts'
import { bytes, type ContractContext, failure } from './context.ts'
import { atTask, claim, completed, LONG_MS, SHORT_MS, toEnd, toTask } from './fixtures.ts'
import { unchanged } from './stored.ts'

/** Every kind of outcome, none of which a lost claim may bring about. */
export const OUTCOMES: readonly TaskOutcome[] = [
  completed('stale', toTask('b')),
  completed('stale', toEnd('stale')),
  { kind: 'retry', error: 'stale', delayMs: 0 },
  { kind: 'retry', error: 'stale', delayMs: 0, maxAttempts: 1 },
  { kind: 'failed', error: 'stale' },
]

/** Proves that nothing can be done under this claim, and that trying changes nothing. */
export async function isLost(
  backend: PersistentBackend,
  lost: TaskClaimRef,
  { held = true }: { readonly held?: boolean } = {},
): Promise<void> {
  const before = await backend.loadSnapshot(lost.instanceId)
  await failure(backend.renewTaskClaim(lost, LONG_MS * 2), 'CLAIM_LOST')
  await failure(backend.extendTaskClaim(lost, LONG_MS * 2), 'CLAIM_LOST')
  for (const outcome of OUTCOMES) {
    await failure(backend.commitTask({ claim: lost, outcome }), 'CLAIM_LOST')
    const claimNext = { ttlMs: LONG_MS }
    await failure(backend.commitTask({ claim: lost, outcome, claimNext }), 'CLAIM_LOST')
  }
  const changed = moveTo(completeTask(before, 'a', bytes('stale')), {
    kind: 'at-task',
    taskId: 'stale',
  })
  await failure(backend.saveSnapshot(changed, { claim: lost }), 'CLAIM_LOST')
  await failure(backend.saveSnapshot(changed, { claim: lost, release: true }), 'CLAIM_LOST')
  const { instanceId } = lost
  await failure(
    backend.saveTaskResult({ instanceId, taskId: 'a', output: bytes('stale'), claim: lost }),
    'CLAIM_LOST',
  )
  if (held) await failure(backend.releaseTaskClaim(lost), 'CLAIM_LOST')
  else await backend.releaseTaskClaim(lost)
  await unchanged(backend, before)
}

/** Proves that a claim's end has not moved: it ends one millisecond after it would have. */
export async function isAsItWas(backend: PersistentBackend, held: TaskClaim): Promise<void> {
  const expiresAt = held.expiresAt === null ? null : held.expiresAt + 1
  expect(await backend.extendTaskClaim(held, 1)).toEqual({ ...held, expiresAt })
}

/** A claim that has expired, and that nobody has taken. */
export async function expiredClaim(
  t: ContractContext,
  backend: PersistentBackend,
  instanceId = 'i',
): Promise<TaskClaim> {
  await backend.saveSnapshot(atTask(instanceId))
  const held = await claim(backend, instanceId, 'a', { ttlMs: SHORT_MS })
  await t.elapse(SHORT_MS)
  return held
}
