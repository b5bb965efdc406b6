import type { WorkerFilter } from '@sayiir/persistence-core'
import type { WorkRequest } from '@sayiir/persistence-core/adapter'
import type { Nudge } from './nudge.ts'
import type { Candidate, Look, WorkFinder } from './work-finder.ts'

/** Milliseconds that a candidate may wait for a worker of this process. */
const FRESH_MS = 500
/** Candidates that a look brings, if there are so many: more where the last ones were soon used up. */
const MIN_LOOK = 8
const MAX_LOOK = 100
/** Candidates among which one is drawn at most, where other processes draw from the same. */
const MAX_SPREAD = 256
/** Filters that are remembered. */
const MAX_SHELVES = 64

/** What has been found for workers of one kind. */
interface Shelf {
  candidates: Candidate[]
  /** When they were found, by the monotonic clock. */
  foundAt: number
  look: Promise<Look> | null
  /** Tasks that callers wait for. */
  wanted: number
  /** Candidates that the next look is to bring. */
  goal: number
}

/** How a worker stands with its shelf. */
export interface Turn {
  readonly shelf: Shelf
}

/**
 * Candidates found by one look and claimed one by one, by any worker of this process that serves
 * them: so a look is shared by those who ask at the same time, and a worker that takes one task
 * after the other need not look each time. That another process was faster shows when one is
 * claimed; where that happens often, workers draw at random among more of the best.
 */
export class WorkPool {
  readonly #finder: WorkFinder
  readonly #nudge: Nudge
  readonly #shelves = new Map<string, Shelf>()
  #spread = 0

  constructor(finder: WorkFinder, nudge: Nudge) {
    this.#finder = finder
    this.#nudge = nudge
  }

  /** Begins a search for a worker. */
  enter({ definitionHashes, tags }: WorkerFilter): Turn {
    const name = JSON.stringify([definitionHashes, tags])
    let shelf = this.#shelves.get(name)
    if (shelf === undefined) {
      shelf = { candidates: [], foundAt: 0, look: null, wanted: 0, goal: MIN_LOOK }
      if (this.#shelves.size >= MAX_SHELVES) this.#shelves.clear()
      this.#shelves.set(name, shelf)
    }
    return { shelf }
  }

  /**
   * Takes candidates off, best first; none that the worker failed itself.
   *
   * @param now Epoch milliseconds.
   */
  take({ shelf }: Turn, workerId: string, count: number, now: number): Candidate[] {
    // A look also finds timers and signals, which must not wait longer for it than they have to.
    if (this.#nudge.isDue(now)) {
      for (const one of this.#shelves.values()) one.candidates = []
    }
    if (shelf.candidates.length > 0 && performance.now() - shelf.foundAt > FRESH_MS) {
      // Read in vain: half a unit each.
      shelf.goal = Math.max(MIN_LOOK, Math.floor(shelf.goal / 2))
      shelf.candidates = []
    }
    const taken: Candidate[] = []
    for (let index = 0; taken.length < count && index < shelf.candidates.length; ) {
      const drawn = index + Math.floor(Math.random() * (1 + this.#spread))
      const at = Math.min(drawn, shelf.candidates.length - 1)
      const candidate = shelf.candidates[at]
      if (candidate === undefined) break
      if (candidate.entry.lastFailedWorker === workerId) {
        index = at + 1
        continue
      }
      shelf.candidates.splice(at, 1)
      taken.push(candidate)
    }
    return taken
  }

  /** Looks for more, together with others who do. */
  async look(turn: Turn, request: WorkRequest, want: number): Promise<Look> {
    const { shelf } = turn
    shelf.wanted += want
    try {
      if (shelf.look === null) {
        if (performance.now() - shelf.foundAt < FRESH_MS)
          shelf.goal = Math.min(shelf.goal * 2, MAX_LOOK)
        const goal = Math.max(Math.min(shelf.wanted + this.#spread, 1000), shelf.goal, want)
        shelf.look = this.#finder.look(request, goal).finally(() => {
          shelf.look = null
        })
        const found = await shelf.look
        shelf.candidates = [...found.candidates]
        shelf.foundAt = performance.now()
        if (found.nextDueAt !== null) this.#nudge.due(found.nextDueAt)
        return found
      }
      return await shelf.look
    } finally {
      shelf.wanted -= want
    }
  }

  /** Takes in how many of those that were taken had been taken by others. */
  learn(tried: number, lost: number): void {
    if (lost > 0) this.#spread = Math.min(Math.max(8, this.#spread * 2), MAX_SPREAD)
    else if (tried > 0 && this.#spread > 0) this.#spread = Math.floor(this.#spread * 0.98)
  }
}
