/** Tells those of this process who wait for work what this process itself commits. */
export class Nudge {
  /** Commits so far. */
  commits = 0
  #controller: AbortController | null = null

  /** Aborts when work is made available. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    return this.#controller.signal
  }

  /** After a commit. */
  committed(madeAvailable: boolean): void {
    this.commits += 1
    if (!madeAvailable) return
    this.#controller?.abort()
    this.#controller = null
  }
}
