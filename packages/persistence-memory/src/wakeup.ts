import type { TaskWakeup, WaitForWakeupParams } from '@sayiir/persistence-core'
import { pollForWakeup } from '@sayiir/persistence-core/adapter'
import type { StoreContext } from './store-context.ts'

/** Milliseconds between two looks at most, while something is due and the clock stands still. */
const MAX_STILL_MS = 1000

/** Waits for a task to become available. */
export function waitForWakeup(
  { lifecycle, dispatch, nudge, now }: StoreContext,
  { timeoutMs, ...filter }: WaitForWakeupParams,
  signal: AbortSignal | undefined,
): Promise<TaskWakeup | null> {
  let lookedAt = -1
  let stillMs = 1
  return pollForWakeup({
    lifecycle,
    signal,
    timeoutMs,
    intervalMs: Number.POSITIVE_INFINITY,
    nudged: () => nudge.signal,
    async peek() {
      const at = now()
      const found = dispatch.available(filter, undefined, 1, at)[0]
      if (found !== undefined) {
        const { instanceId, definitionHash } = found.record.snapshot
        return { wakeup: { instanceId, taskId: found.entry.taskId, definitionHash } }
      }
      // A clock that a test holds still must not be asked again and again.
      stillMs = at === lookedAt ? Math.min(stillMs * 2, MAX_STILL_MS) : 1
      lookedAt = at
      const dueInMs = dispatch.nextDueInMs(at)
      return { wakeup: null, dueInMs: dueInMs === null ? null : Math.max(dueInMs, stillMs) }
    },
  })
}
