import type { WorkerFilter } from '@sayiir/persistence-core'
import type { WorkRequest } from '@sayiir/persistence-core/adapter'
import type { DueNudge } from './due-nudge.ts'
import type { Look, WorkFinder } from './work-finder.ts'
import type { Candidate } from './work-scan.ts'

/** Milliseconds that a candidate may wait for a worker of this process. */
const FRESH_MS = 500
/** Milliseconds after a look within which the next one may leave out what is rarely new: timers, expired claims, classes. */
const WHOLE_LOOK_MS = 250
/** Milliseconds that the candidates of a look are to last: well within the time that they may wait. */
const LAST_MS = 300
/** Candidates that a look brings, if there are so many: more where the last ones were soon used up. */
const MIN_LOOK = 8
const MAX_LOOK = 200
const GROWTH = 4
/** The part of the candidates with which the next look begins, so that nobody waits for it. */
const LOW_PART = 0.25
/** Candidates among which one is drawn at most, where other processes draw from the same. */
const MAX_SPREAD = 256
/** Filters that are remembered. */
const MAX_SHELVES = 64
/** Milliseconds for which one that others were faster to claim is not tried again as it was: the index lags. */
const LOST_MS = 1000
/** Claimed candidates that are remembered, because an index may still show them. */
const MAX_CLAIMED = 2000

/** What has been found for workers of one kind. */
interface Shelf {
  candidates: Candidate[]
  /** When they were found, by the monotonic clock. */
  foundAt: number
  /** When everything was looked at last. */
  wholeAt: number
  look: Promise<SharedLook> | null
  /** Tasks that callers wait for. */
  wanted: number
  /** Candidates that the next look is to bring. */
  goal: number
  /** Candidates that were taken since the last one. */
  taken: number
  /** Candidates below which the next look begins; 0: there were no more. */
  low: number
  /** Instances to be taken care of by whoever comes next. */
  due: string[]
}

/** A candidate as it was when it was taken. */
interface Taken {
  readonly lastWrite: string
  /** By the monotonic clock. */
  readonly until: number
}

/** What became of a candidate: a worker here has claimed it, it was not free, or that is not known. */
export type Fate = 'claimed' | 'lost' | 'unknown'

/** How a worker stands with its shelf. */
export interface Turn {
  readonly shelf: Shelf
  /** Looks that had begun when its search did: these may have missed what was there by then. */
  readonly begun: number
}

/** A look that any worker of a kind may have made. */
interface SharedLook extends Look {
  /** Which one it is. */
  readonly number: number
  /** Whose it is: who failed a task itself looks further than others would. */
  readonly workerId: string
}

/**
 * Candidates found by one look and claimed one by one, by any worker of this process that serves
 * them: so a look is shared by those who ask at the same time, and a worker that takes one task
 * after the other need not look each time. That another process was faster shows when one is
 * claimed; where that happens often, workers draw at random among more of the best.
 */
export class WorkPool {
  readonly #finder: WorkFinder
  readonly #nudge: DueNudge
  readonly #later: (work: () => Promise<unknown>) => void
  readonly #shelves = new Map<string, Shelf>()
  /** What is being claimed, or has been, with the write that it was seen at: seen so again, it is out of date. */
  readonly #claimed = new Map<string, Taken>()
  #spread = 0
  /** Looks so far. */
  #begun = 0

  /** @param later Does something that nobody waits for, but who closes the backend. */
  constructor(finder: WorkFinder, nudge: DueNudge, later: (work: () => Promise<unknown>) => void) {
    this.#finder = finder
    this.#nudge = nudge
    this.#later = later
  }

  /** Begins a search for a worker. */
  enter({ definitionHashes, tags }: WorkerFilter): Turn {
    const name = JSON.stringify([definitionHashes, tags])
    let shelf = this.#shelves.get(name)
    if (shelf === undefined) {
      shelf = {
        candidates: [],
        foundAt: -Infinity,
        wholeAt: -Infinity,
        look: null,
        wanted: 0,
        goal: MIN_LOOK,
        taken: 0,
        low: 0,
        due: [],
      }
      if (this.#shelves.size >= MAX_SHELVES) this.#shelves.clear()
      this.#shelves.set(name, shelf)
    }
    return { shelf, begun: this.#begun }
  }

  /**
   * Takes candidates off, best first; none that the worker failed itself.
   *
   * @param now Epoch milliseconds.
   */
  take({ shelf }: Turn, request: WorkRequest, count: number, now: number): Candidate[] {
    // A look also finds timers and signals, which must not wait longer for it than they have to.
    if (this.#nudge.isDue(now)) {
      for (const one of this.#shelves.values()) {
        one.candidates = []
        one.wholeAt = -Infinity
      }
    }
    if (performance.now() - shelf.foundAt > FRESH_MS) shelf.candidates = []
    const taken: Candidate[] = []
    for (let index = 0; taken.length < count && index < shelf.candidates.length; ) {
      const drawn = index + Math.floor(Math.random() * (1 + this.#spread))
      const at = Math.min(drawn, shelf.candidates.length - 1)
      const candidate = shelf.candidates[at]
      if (candidate === undefined) break
      if (candidate.entry.lastFailedWorker === request.workerId) {
        index = at + 1
        continue
      }
      shelf.candidates.splice(at, 1)
      this.#claimed.set(nameOf(candidate), { lastWrite: lastWriteOf(candidate), until: Infinity })
      taken.push(candidate)
    }
    shelf.taken += taken.length
    const isLow = taken.length > 0 && shelf.candidates.length < shelf.low
    // Where it fails, those who then find nothing look themselves, and are told.
    if (isLow && shelf.look === null) this.#later(() => this.#look(shelf, request, 1))
    return taken
  }

  /**
   * Looks for more, together with others who do. `isConclusive`: it began after the search, and went as
   * far as one of this worker's own, so what it has not found was not there.
   */
  async look(
    { shelf, begun }: Turn,
    request: WorkRequest,
    want: number,
  ): Promise<{ readonly look: Look; readonly isConclusive: boolean }> {
    shelf.wanted += want
    try {
      const look = await (shelf.look ?? this.#look(shelf, request, shelf.wanted))
      const isAll = look.isComplete && look.isWhole
      const isAsFar = isAll || look.workerId === request.workerId
      return { look, isConclusive: look.number > begun && isAsFar }
    } finally {
      shelf.wanted -= want
    }
  }

  /** Instances to be taken care of by whoever asks. */
  takeDue({ shelf }: Turn): string[] {
    const { due } = shelf
    shelf.due = []
    return due
  }

  /** Takes in what became of a candidate that was taken. */
  settle(candidate: Candidate, fate: Fate): void {
    if (fate === 'claimed') {
      if (this.#spread > 0) this.#spread = Math.floor(this.#spread * 0.98)
      for (const oldest of this.#claimed.keys()) {
        if (this.#claimed.size <= MAX_CLAIMED) break
        this.#claimed.delete(oldest)
      }
      return
    }
    const name = nameOf(candidate)
    if (fate === 'unknown') this.#claimed.delete(name)
    else {
      const until = performance.now() + LOST_MS
      this.#claimed.set(name, { lastWrite: lastWriteOf(candidate), until })
    }
  }

  /** Whether others are often faster. */
  get isContended(): boolean {
    return this.#spread > 0
  }

  /** Takes in that others were faster. */
  lost(): void {
    this.#spread = Math.min(Math.max(8, this.#spread * 2), MAX_SPREAD)
  }

  #look(shelf: Shelf, request: WorkRequest, need: number): Promise<SharedLook> {
    const now = performance.now()
    this.#begun += 1
    const number = this.#begun
    // What is read ahead and not taken was read in vain.
    const wanted = (shelf.taken / Math.max(now - shelf.foundAt, 1)) * LAST_MS
    shelf.goal = Math.ceil(Math.min(Math.max(wanted, MIN_LOOK), shelf.goal * GROWTH, MAX_LOOK))
    shelf.taken = 0
    const ahead = Math.min(Math.max(need + this.#spread, shelf.goal), 1000)
    const isRefill = now - shelf.wholeAt < WHOLE_LOOK_MS
    const looking = this.#finder
      .look(request, { need, ahead, isRefill, isForClaims: true })
      .then((look) => {
        // What has been taken is being claimed, or has been and the index lags.
        const candidates = look.candidates.filter((one) => !this.#isClaimed(one))
        const found = { ...look, candidates, number, workerId: request.workerId }
        shelf.candidates = [...candidates]
        shelf.foundAt = performance.now()
        if (found.isWhole) shelf.due = [...found.due]
        // Where there was no more, the next look need not try the known classes first.
        if (found.isComplete) shelf.wholeAt = -Infinity
        else if (found.isWhole) shelf.wholeAt = now
        shelf.low = found.isComplete ? 0 : shelf.candidates.length * LOW_PART
        if (found.nextDueAt !== null) this.#nudge.due(found.nextDueAt)
        return found
      })
      .finally(() => {
        shelf.look = null
      })
    shelf.look = looking
    return looking
  }

  #isClaimed(candidate: Candidate): boolean {
    const taken = this.#claimed.get(nameOf(candidate))
    return taken?.lastWrite === lastWriteOf(candidate) && taken.until > performance.now()
  }
}

function nameOf({ known, entry }: Candidate): string {
  return JSON.stringify([known.item.instanceId, entry.taskId])
}

function lastWriteOf({ known }: Candidate): string {
  return known.item.lastWrite
}
