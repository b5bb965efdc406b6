import type { TaskWakeup, WaitForWakeupParams } from '@sayiir/persistence-core'
import { pause } from '@sayiir/persistence-core/adapter'
import type { Dispatch } from './dispatch.ts'

/** Tells those of this process who wait for work what this process itself makes available. */
export class Nudge {
  #controller: AbortController | null = null

  /** Aborts when work is made available. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    return this.#controller.signal
  }

  now(): void {
    this.#controller?.abort()
    this.#controller = null
  }
}

/** Waits for work by looking, at once when this process itself makes some available. */
export async function waitForWork(
  dispatch: Dispatch,
  nudge: Nudge,
  pollIntervalMs: number,
  { timeoutMs, ...filter }: WaitForWakeupParams,
  signal: AbortSignal | undefined,
  closing: AbortSignal,
  takeCare: (due: readonly string[]) => Promise<void>,
): Promise<TaskWakeup | null> {
  const end = performance.now() + timeoutMs
  for (;;) {
    signal?.throwIfAborted()
    if (closing.aborted) return null
    // Taken before the look: what becomes available during it is not missed.
    const nudged = nudge.signal
    const { found, due } = await dispatch.peek(filter)
    await takeCare(due)
    signal?.throwIfAborted()
    if (found !== null) return found
    const left = end - performance.now()
    if (left <= 0) return null
    if (due.length === 0) await pause(Math.min(left, pollIntervalMs), signal, closing, nudged)
  }
}
