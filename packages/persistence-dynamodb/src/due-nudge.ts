import { Nudge } from '@sayiir/persistence-core/adapter'

/** Tells the rest of this process what its own writes bring about, and when. */
export class DueNudge extends Nudge {
  #dueAt = Infinity

  /** An instance has to be looked at then: epoch milliseconds. */
  due(at: number): void {
    this.#dueAt = Math.min(this.#dueAt, at)
  }

  /** Whether something has become due since this was last true. */
  isDue(now: number): boolean {
    if (now < this.#dueAt) return false
    this.#dueAt = Infinity
    return true
  }
}
