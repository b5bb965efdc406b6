/** Places that workers draw among, at most. */
const MAX_PLACES = 32
/** Tasks that are left to others, at most: the server passes over them. */
const MAX_SKIP = 500
/** By how much there are more places where others were faster, and fewer where nobody was. */
const MORE = 2
const FEWER = 0.8

/**
 * How often processes claim the same tasks. All that look for the best find the same ones, and all
 * but one have looked in vain: the more processes there are, the less gets done. So where that
 * happens, each draws by lot how many of the best ones it leaves to the others; half a dozen claims
 * without it, and each takes the best again.
 */
export class Contention {
  #places = 1

  /** How many of the best tasks to leave to others, for one who wants so many. */
  skip(wanted: number): number {
    const places = Math.min(this.#places, 1 + Math.floor(MAX_SKIP / wanted))
    return wanted * Math.floor(Math.random() * places)
  }

  /** What became of a claim of what was found: whether it got all of it. */
  claimed(isWhole: boolean): void {
    const places = this.#places * (isWhole ? FEWER : MORE)
    this.#places = Math.max(1, Math.min(places, MAX_PLACES))
  }

  /** There are not so many tasks that some could be left to others. */
  ranShort(): void {
    this.#places = 1
  }
}
