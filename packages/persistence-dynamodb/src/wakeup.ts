import type { TaskWakeup, WaitForWakeupParams } from '@sayiir/persistence-core'
import { pause } from '@sayiir/persistence-core/adapter'
import type { DueNudge } from './due-nudge.ts'
import type { InstanceStore } from './instance-store.ts'
import type { WorkFinder } from './work-finder.ts'

/** By how much the pause between two looks grows while there is nothing to do. */
const GROWTH = 1.5

/**
 * Waits for work by looking: soon after the last, then less and less often, but at the time at
 * which something is known to become due, and at once when this process itself makes work
 * available.
 */
export class Wakeup {
  readonly #finder: WorkFinder
  readonly #instances: InstanceStore
  readonly #nudge: DueNudge
  readonly #intervals: { readonly pollIntervalMs: number; readonly maxPollIntervalMs: number }

  constructor(
    finder: WorkFinder,
    instances: InstanceStore,
    nudge: DueNudge,
    intervals: { readonly pollIntervalMs: number; readonly maxPollIntervalMs: number },
  ) {
    this.#finder = finder
    this.#instances = instances
    this.#nudge = nudge
    this.#intervals = intervals
  }

  async wait(
    { timeoutMs, ...filter }: WaitForWakeupParams,
    signal: AbortSignal | undefined,
    closing: AbortSignal,
    takeCare: (due: readonly string[]) => Promise<boolean>,
  ): Promise<TaskWakeup | null> {
    const { pollIntervalMs, maxPollIntervalMs } = this.#intervals
    const deadline = performance.now() + timeoutMs
    let interval = pollIntervalMs
    for (;;) {
      // Taken before the look: what becomes available during it is not missed.
      const nudge = this.#nudge.signal
      const { candidates, due, nextDueAt } = await this.#finder.look(
        { filter, workerId: '' },
        { need: 1, ahead: 1 },
      )
      const isWorthIt = await takeCare(due)
      signal?.throwIfAborted()
      const [best] = candidates
      if (best !== undefined) {
        const { instanceId, definitionHash } = best.known.state.head
        return { instanceId, taskId: best.entry.taskId, definitionHash }
      }
      const left = deadline - performance.now()
      if (left <= 0 || closing.aborted) return null
      const dueInMs = nextDueAt === null ? Infinity : Math.max(nextDueAt - this.#instances.now, 1)
      // What was taken care of may have made work available.
      const wanted = isWorthIt ? 0 : Math.min(interval, dueInMs)
      await pause(Math.min(left, wanted), signal, closing, nudge)
      signal?.throwIfAborted()
      if (closing.aborted) return null
      interval = nudge.aborted ? pollIntervalMs : Math.min(interval * GROWTH, maxPollIntervalMs)
    }
  }
}
