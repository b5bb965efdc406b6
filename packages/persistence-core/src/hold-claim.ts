import { checkTtl } from './check.ts'
import { checkAbortable } from './check-params.ts'
import { BackendError, quote } from './errors.ts'
import { pause } from './lifecycle.ts'
import type { TaskClaim, TaskClaimStore } from './task-claim-store.ts'

/** How {@link holdClaim} holds a claim. */
export interface HoldClaimOptions {
  /** What each renewal gives, in milliseconds, more than 0; the claim should have been made with as much. */
  readonly ttlMs: number
  /** Passed on to `work`. The claim is renewed all the same until `work` has ended. */
  readonly signal?: AbortSignal
}

/**
 * Runs `work` and renews its claim meanwhile, about every third of `ttlMs`, so that a task may take
 * longer than its claim lasts. Call it as soon as the claim is won: how long the claim still has is
 * reckoned from then, by this process's monotonic clock.
 *
 * The signal that `work` gets aborts with a `BackendError` as its reason as soon as somebody else
 * may be doing the same work:
 * - `CLAIM_LOST` when the store says so, and also when no renewal has succeeded for the time that
 *   the last one gave (the store may be unreachable, see `cause`); single failed renewals are
 *   survived while time remains;
 * - `TERMINAL` when the instance has ended.
 *
 * What `work` returns or throws is what the caller gets, also after that. The claim is neither
 * released nor committed: a finished task is committed, a failed one is committed with `retry` or
 * `failed` (or released), and only the caller knows which.
 *
 * While the event loop is blocked nothing can be renewed and no signal can abort: the claim may then
 * be lost, and another worker may have started, before `work` is told. This helper saves wasted
 * work; what keeps the result right is that a commit under a lost claim is refused.
 *
 * It leaves no timer and no renewal behind, and never keeps a process alive.
 *
 * @throws `TypeError`/`RangeError` for a wrong `ttlMs` or `signal`, the signal's reason if it has
 * aborted already, and whatever `work` throws.
 *
 * @example
 * ```ts
 * import { holdClaim, type ClaimedTask, type PersistentBackend } from '@sayiir/persistence-core'
 *
 * declare function render(input: Uint8Array, signal: AbortSignal): Promise<Uint8Array>
 *
 * async function execute(backend: PersistentBackend, { task, claim }: ClaimedTask): Promise<void> {
 *   const output = await holdClaim(backend, claim, { ttlMs: 30_000 }, (signal) => render(task.input, signal))
 *   await backend.commitTask({ claim, outcome: { kind: 'completed', output, next: { finalOutput: output } } })
 * }
 * ```
 */
export async function holdClaim<T>(
  backend: Pick<TaskClaimStore, 'renewTaskClaim'>,
  claim: TaskClaim,
  options: HoldClaimOptions,
  work: (signal: AbortSignal) => T | Promise<T>,
): Promise<T> {
  const ttlMs = checkTtl(options.ttlMs, 'ttlMs')
  const signal = checkAbortable(options)
  signal?.throwIfAborted()
  const lost = new AbortController()
  const ended = new AbortController()
  const renewing = keepRenewing(backend, claim, ttlMs, lost, ended.signal)
  try {
    return await work(signal === undefined ? lost.signal : AbortSignal.any([signal, lost.signal]))
  } finally {
    ended.abort()
    await renewing
  }
}

/** Renews until `ended` aborts, or until the claim is lost: then aborts `lost` with why. */
async function keepRenewing(
  backend: Pick<TaskClaimStore, 'renewTaskClaim'>,
  claim: TaskClaim,
  ttlMs: number,
  lost: AbortController,
  ended: AbortSignal,
): Promise<void> {
  // A claim that was renewed before it came here has less left than since it was claimed.
  const firstMs =
    claim.expiresAt === null ? ttlMs : Math.min(ttlMs, claim.expiresAt - claim.claimedAt)
  let heldUntil = claim.expiresAt === null ? Infinity : performance.now() + firstMs
  let waitMs = firstMs / 3
  let failure: unknown
  for (;;) {
    await pause(Math.min(waitMs, heldUntil - performance.now()), ended)
    if (ended.aborted) return
    const startedAt = performance.now()
    if (startedAt >= heldUntil) return lost.abort(outlived(claim, failure))
    const stop = new AbortController()
    const renewal = renew(backend, claim, ttlMs, stop.signal)
    const answer = await Promise.race([renewal, pause(heldUntil - startedAt, ended, stop.signal)])
    if (answer === undefined) {
      if (!ended.aborted) lost.abort(outlived(claim, failure))
      stop.abort()
      await renewal
      return
    }
    stop.abort()
    if ('renewed' in answer) {
      heldUntil = answer.renewed.expiresAt === null ? Infinity : startedAt + ttlMs
      waitMs = ttlMs / 3
    } else {
      failure = answer.failure
      const loss = lossOf(claim, failure)
      if (loss !== null) return lost.abort(loss)
      waitMs = ttlMs / 10
    }
  }
}

type Answer = { readonly renewed: TaskClaim } | { readonly failure: unknown }

async function renew(
  backend: Pick<TaskClaimStore, 'renewTaskClaim'>,
  claim: TaskClaim,
  ttlMs: number,
  signal: AbortSignal,
): Promise<Answer> {
  try {
    return { renewed: await backend.renewTaskClaim(claim, ttlMs, { signal }) }
  } catch (failure) {
    return { failure }
  }
}

/** Why the claim is lost for certain, or null where another try may succeed. */
function lossOf(claim: TaskClaim, failure: unknown): BackendError | null {
  if (BackendError.is(failure, 'CLAIM_LOST') || BackendError.is(failure, 'TERMINAL')) return failure
  if (BackendError.is(failure, 'NOT_FOUND')) {
    return lostBecause(claim, 'was lost: its instance was deleted', failure)
  }
  if (BackendError.is(failure, 'CLOSED')) {
    return lostBecause(claim, 'can no longer be renewed: the backend was closed', failure)
  }
  return null
}

function outlived(claim: TaskClaim, cause: unknown): BackendError {
  return lostBecause(claim, 'was not renewed in time, so it may be held by somebody else', cause)
}

function lostBecause(
  { instanceId, taskId }: TaskClaim,
  because: string,
  cause: unknown,
): BackendError {
  return new BackendError(
    'CLAIM_LOST',
    `the claim on task ${quote(taskId)} of instance ${quote(instanceId)} ${because}; stop working on it`,
    { instanceId, taskId, ...(cause === undefined ? undefined : { cause }) },
  )
}
