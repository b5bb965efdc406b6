import { type Lifecycle, pause } from './lifecycle.ts'
import type { TaskWakeup } from './task-claim-store.ts'

/** How a backend without pushes waits for work. */
export interface WakeupPoll {
  readonly lifecycle: Lifecycle
  readonly signal: AbortSignal | undefined
  /** Milliseconds to wait at most. */
  readonly timeoutMs: number
  /** Milliseconds between two looks at most. */
  readonly intervalMs: number
  /**
   * Looks for work. If there is none it may tell how many milliseconds from now something becomes
   * due, so that the next look is not later than that.
   */
  peek(): Promise<{ readonly wakeup: TaskWakeup | null; readonly dueInMs?: number | null }>
  /** A signal that aborts when this process itself made work available, to look again at once. */
  readonly nudged?: () => AbortSignal
}

/**
 * Looks for work until there is some, the time is up, or the backend is closed (then null).
 *
 * @throws the signal's reason when it aborts.
 */
export async function pollForWakeup(poll: WakeupPoll): Promise<TaskWakeup | null> {
  const { lifecycle, signal } = poll
  const deadline = performance.now() + poll.timeoutMs
  for (;;) {
    // Taken before the look: what becomes available during it is not missed.
    const nudge = poll.nudged?.()
    const { wakeup, dueInMs } = await poll.peek()
    signal?.throwIfAborted()
    const left = deadline - performance.now()
    if (wakeup !== null || left <= 0 || lifecycle.closing.aborted) return wakeup
    await pause(
      Math.min(left, poll.intervalMs, Math.max(dueInMs ?? Infinity, 1)),
      signal,
      lifecycle.closing,
      nudge,
    )
    signal?.throwIfAborted()
    if (lifecycle.closing.aborted) return null
  }
}
