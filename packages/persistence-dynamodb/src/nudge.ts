/** Tells the rest of this process what its own writes bring about. */
export class Nudge {
  #next: AbortController | null = null
  #dueAt = Infinity

  /** Aborts when work may have become available. */
  get signal(): AbortSignal {
    this.#next ??= new AbortController()
    return this.#next.signal
  }

  /** Work may be there. */
  nudge(): void {
    this.#next?.abort()
    this.#next = null
  }

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
