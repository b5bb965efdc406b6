import type { TaskWakeup } from '@sayiir/persistence-core'
import { Nudge, type OptimisticStore, pause } from '@sayiir/persistence-core/adapter'
import { Changes } from './changes.ts'
import type { Database } from './database.ts'
import type { Dispatch } from './dispatch.ts'

/** Milliseconds after which one who is told of work looks all the same. */
const BACKSTOP_MS = 1000

/** Waits for work: by looking, and by what {@link Changes} and this process itself tell of. */
export class Wakeups {
  readonly #dispatch: Dispatch
  readonly #nudge = new Nudge()
  readonly #changes: Changes
  readonly #pollIntervalMs: number

  /** @param isTold Whether the server has change streams. */
  constructor(db: Database, dispatch: Dispatch, pollIntervalMs: number, isTold: boolean) {
    this.#dispatch = dispatch
    this.#pollIntervalMs = pollIntervalMs
    this.#changes = new Changes(db, isTold, () => this.#nudge.nudge())
  }

  /** This process made work available. */
  noteWork(): void {
    this.#nudge.nudge()
  }

  /** See `OptimisticStore.waitForWakeup`. */
  async wait(
    ...[{ timeoutMs, ...filter }, signal, closing, takeCare]: Parameters<
      OptimisticStore['waitForWakeup']
    >
  ): Promise<TaskWakeup | null> {
    const end = performance.now() + timeoutMs
    for (;;) {
      signal?.throwIfAborted()
      if (closing.aborted) return null
      // Both before the look: what becomes available during it is not missed.
      const isTold = this.#changes.listens()
      const nudged = this.#nudge.signal
      const { found, due, dueInMs } = await this.#dispatch.peek(filter, isTold)
      const isWorthIt = await takeCare(due)
      signal?.throwIfAborted()
      if (found !== null) return found
      const left = end - performance.now()
      if (left <= 0) return null
      if (isWorthIt) continue
      const interval = isTold ? BACKSTOP_MS : this.#pollIntervalMs
      await pause(Math.min(left, interval, dueInMs), signal, closing, nudged)
    }
  }

  close(): Promise<void> {
    return this.#changes.close()
  }
}
