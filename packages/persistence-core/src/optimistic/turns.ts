/** Lets work on the same key run one after the other, in the order in which it came. */
export class Turns {
  readonly #last = new Map<string, Turn>()

  /** Does work in a turn of its own. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const turn = this.begin(key)
    return turn instanceof Promise
      ? turn.then((own) => this.#run(own, work))
      : this.#run(turn, work)
  }

  /** A turn, at once where nobody has one; whoever gets it has to end it, once. */
  begin(key: string): Turn | Promise<Turn> {
    const turn: Turn = { key, next: null }
    const before = this.#last.get(key)
    this.#last.set(key, turn)
    if (before === undefined) return turn
    return new Promise((resolve) => {
      before.next = () => resolve(turn)
    })
  }

  /** Lets the next one begin. */
  end(turn: Turn): void {
    if (this.#last.get(turn.key) === turn) this.#last.delete(turn.key)
    const { next } = turn
    // What the map leaves behind of it (see InstanceCache) must not keep those that came after.
    turn.next = null
    next?.()
  }

  async #run<T>(turn: Turn, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } finally {
      this.end(turn)
    }
  }
}

/** The right to work on a key. */
export interface Turn {
  readonly key: string
  /** Begins the turn that comes after. */
  next: (() => void) | null
}
