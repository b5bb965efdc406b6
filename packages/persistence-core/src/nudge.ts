/** Tells those of this process who wait for work that some may have become available. Costs nothing while nobody waits. */
export class Nudge {
  #next: AbortController | null = null

  /** Aborts at the next nudge: to be taken before a look, so that nothing is missed during it. */
  get signal(): AbortSignal {
    this.#next ??= new AbortController()
    return this.#next.signal
  }

  /** Work may have become available. */
  nudge(): void {
    this.#next?.abort()
    this.#next = null
  }
}
