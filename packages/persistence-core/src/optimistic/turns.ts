/** Lets work on the same key run one after the other, in the order in which it came. */
export class Turns {
  readonly #last = new Map<string, Turn>()

  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key)?.running ?? null
    const running = before === null ? work() : before.then(work, work)
    const turn: Turn = { running }
    this.#last.set(key, turn)
    const end = (): void => {
      if (this.#last.get(key) === turn) this.#last.delete(key)
      // What the map leaves behind of it (see InstanceCache) must not keep what the work came to.
      turn.running = null
    }
    // Before whoever called goes on.
    running.then(end, end)
    return running
  }
}

interface Turn {
  /** Null once it is over. */
  running: Promise<unknown> | null
}
