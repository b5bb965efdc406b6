import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { TaskWakeup, WaitForWakeupParams } from '../task-claim-store.ts'
import type { ContractContext } from './context.ts'
import { LONG_MS } from './fixtures.ts'
import { storeTime } from './steps.ts'

/** Longer than any backend may leave work lying. */
const SOON_MS = 10_000
/** Long enough for a wrong wakeup to come. */
const QUIET_MS = 40

/** A `waitForWakeup` under observation. */
export interface Wait {
  /** Fails if it has ended, after a while in which a wrong wakeup would have come. */
  goesOn(): Promise<void>
  /** Lets the store's clock come to a time; fails if the wait ended before that. */
  goesOnUntil(dueAt: number): Promise<void>
  /** What it ends with; fails if it does not end soon. */
  ends(): Promise<TaskWakeup | null>
}

/** Starts a wait, by default one without end. */
export function wait(
  t: ContractContext,
  backend: PersistentBackend,
  params: Partial<WaitForWakeupParams> & { readonly signal?: AbortSignal } = {},
): Wait {
  const { signal, ...rest } = params
  let ended = false
  const waiting = backend
    .waitForWakeup({ timeoutMs: LONG_MS, ...rest }, signal === undefined ? undefined : { signal })
    .finally(() => {
      ended = true
    })
  // Looked at later; until then it is no unhandled rejection.
  waiting.catch(() => {})
  return {
    async goesOn() {
      await t.elapse(QUIET_MS)
      // Moving a clock gives no time to wake up.
      await sleep(5)
      expect(ended, 'a wait ended with no work available to it').toBe(false)
    },
    async goesOnUntil(dueAt) {
      const { clock } = t.capabilities
      const slackMs = clock === 'store' ? 0 : clock.maxErrorMs
      for (;;) {
        // Read before the clock: what has ended now ended before the time that the clock tells.
        const early = ended
        const now = await storeTime(backend)
        if (now >= dueAt) return
        if (now < dueAt - slackMs) expect(early, 'a wait ended before its time').toBe(false)
        await t.elapse(10)
        await sleep(1)
      }
    },
    async ends() {
      const giveUp = new AbortController()
      const late = sleep(SOON_MS, undefined, { signal: giveUp.signal }).then(() =>
        expect.fail('a wait went on with work available to it'),
      )
      late.catch(() => {})
      try {
        return await Promise.race([waiting, late])
      } finally {
        giveUp.abort()
      }
    },
  }
}

/** Proves that a wait ends with this task, as far as the hint says what it is. */
export async function endsWith(
  waiting: Wait,
  task: { readonly instanceId: string; readonly taskId: string; readonly definitionHash?: string },
): Promise<void> {
  const wakeup = await waiting.ends()
  if (wakeup === null) expect.fail('a wait timed out with work available to it')
  expect({ definitionHash: 'definition-1', ...task }).toMatchObject(wakeup)
}
