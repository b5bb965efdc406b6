import { type Candidate, sizeOf } from './candidates.ts'

/** Claims with a commit in a row that found a task, after which it is worth to find several at a time. */
const STREAK = 3
/** Candidates that are found at a time: at first, and at most. */
const MIN_FOUND = 4
const MAX_FOUND = 32
/** Bytes of the instances that are found at a time, about. */
const MAX_BYTES = 256 * 1024
/** Claims that do without a guess after one was wrong: as many again with every one, at most. One that was right makes it one fewer: while others take the same tasks, half of them are wrong. */
const MAX_REST = 64

/**
 * Tasks that will be the best, one after the other, unless something better comes or others take
 * them: those that a search found beyond the one that was wanted. One who claims one task after the
 * other names the next of them, and the server says whether it is the best (see `BestClaim`).
 */
export class Guesses {
  #ahead: Candidate[] = []
  /** Whom they were found for. */
  #workerId = ''
  #count: number = MIN_FOUND
  #streak = 0
  #rest = 0
  #nextRest = 1

  /** How many to look for; 0: it is not worth it now, or there are some. */
  get wanted(): number {
    return this.#streak >= STREAK && this.#rest === 0 && this.#ahead.length === 0 ? this.#count : 0
  }

  /** A claim with a commit, without a guess, has found a task, or none. */
  claimed(hasFound: boolean): void {
    this.#streak = hasFound ? this.#streak + 1 : 0
    if (this.#rest > 0) this.#rest -= 1
  }

  /** Takes in what a search for so many has found, best first. */
  found(workerId: string, candidates: readonly Candidate[], wanted: number): void {
    this.#workerId = workerId
    this.#ahead = candidates.filter(
      ({ doc, entry }) => doc.q?.t === entry.t && entry.f !== workerId,
    )
    // There are no more, so there is nothing to be gained for a while.
    if (candidates.length < wanted) this.#streak = 0
    const bytes = candidates.reduce((sum, { doc }) => sum + sizeOf(doc), 1)
    const fitting = Math.floor((MAX_BYTES * candidates.length) / bytes)
    this.#count = Math.max(1, Math.min(this.#count * 2, fitting, MAX_FOUND))
  }

  /** The next one for a worker, and whether the one after it is as good. */
  next(workerId: string): { readonly candidate: Candidate; readonly isTied: boolean } | null {
    if (workerId !== this.#workerId) this.#ahead = []
    const candidate = this.#ahead.shift()
    if (candidate === undefined) return null
    return { candidate, isTied: this.#ahead[0]?.doc.q?.k === candidate.doc.q?.k }
  }

  /** One was not needed. */
  giveBack(candidate: Candidate): void {
    this.#ahead.unshift(candidate)
  }

  /** One was right, or wrong: then so are the others, as a rule. */
  wasRight(isRight: boolean): void {
    if (isRight) {
      this.#nextRest = Math.max(this.#nextRest - 1, 1)
      return
    }
    this.#ahead = []
    this.#count = MIN_FOUND
    this.#rest = this.#nextRest
    this.#nextRest = Math.min(this.#nextRest * 2, MAX_REST)
  }
}
