import type { Candidate } from './candidates.ts'

/** Milliseconds after a lost race in which others are taken to claim just now. */
const RACING_MS = 100
/** Shares among which one is drawn, at most: each has to be found. */
const MAX_SHARES = 8

/**
 * Claims at the same time all find the same tasks, and all but one of them have found them in vain.
 * Those of one process leave each other's alone. Of other processes it is only seen that they were
 * faster: then, and for a moment, several shares of what is wanted are found and one of them is
 * drawn. Never past a more urgent task, nor past any for what the worker has failed itself: only
 * among tasks that are alike one may be taken before another that has waited longer, which somebody
 * else is about to take.
 */
export class Collisions {
  readonly #taking = new Set<string>()
  #shares = 1
  #lostAt = -Infinity

  /** How many tasks to find for so many. */
  search(wanted: number): number {
    return wanted * this.#current + this.#taking.size
  }

  /**
   * Claims some of the candidates.
   *
   * @param found Best first.
   * @param take Claims them; how many it got.
   */
  async take(
    found: readonly Candidate[],
    wanted: number,
    workerId: string,
    take: (chosen: readonly Candidate[]) => Promise<number>,
  ): Promise<void> {
    const others = found.filter((one) => !this.#taking.has(keyOf(one)))
    // Where there are too few, some of those may still be left.
    const isEnough = others.length >= wanted
    const chosen = isEnough ? this.#draw(others, wanted, workerId) : found.slice(0, wanted)
    const keys = chosen.map(keyOf)
    for (const key of keys) this.#taking.add(key)
    try {
      const lost = chosen.length - (await take(chosen))
      if (lost > 0 && (isEnough || others.length === found.length)) {
        this.#shares = Math.min(this.#current * 2, MAX_SHARES)
        this.#lostAt = performance.now()
      }
    } finally {
      for (const key of keys) this.#taking.delete(key)
    }
  }

  #draw(candidates: readonly Candidate[], wanted: number, workerId: string): readonly Candidate[] {
    const [best] = candidates
    if (best === undefined || this.#current === 1) return candidates.slice(0, wanted)
    const isAlike = ({ entry }: Candidate): boolean =>
      entry.p === best.entry.p && (entry.f === workerId) === (best.entry.f === workerId)
    const other = candidates.findIndex((one) => !isAlike(one))
    const alike = other < 0 ? candidates.length : other
    const shares = Math.max(Math.floor(alike / wanted), 1)
    const from = Math.floor(Math.random() * shares) * wanted
    return candidates.slice(from, from + wanted)
  }

  get #current(): number {
    return performance.now() - this.#lostAt < RACING_MS ? this.#shares : 1
  }
}

function keyOf({ instanceId, entry }: Candidate): string {
  return `${instanceId}\0${entry.t}`
}
