import { TIMER_TASK_ID } from '@sayiir/persistence-core/adapter'
import type { Document } from 'mongodb'
import { CareTimes } from './care-times.ts'
import type { Database } from './database.ts'
import { DERIVE } from './expressions.ts'
import type { MarkerDoc } from './records.ts'

/** Instances of one look at most. */
const LIMIT = 100
/** Of what needs care, that which is put back or removed. */
const NOT_DUE = { cs: null, ps: null, 'e.t': { $ne: TIMER_TASK_ID } } as Document
/** Looks of one call at most, while each finds as many as it may. */
const MAX_LOOKS = 10
/** Milliseconds for which a look stands: what other processes cause is seen that late, where there is other work. */
const STANDS_MS = 50
/** At most so late, where looks take their time: they are to take a fortieth of it. */
const MAX_STANDS_MS = 250
const SHARE = 40
/** Milliseconds for which the server's clock is carried on without asking. */
const CLOCK_STANDS_MS = 1000

/**
 * What any dispatch call does for all, in bounded numbers: puts tasks back whose claims have
 * expired, or that have become due behind another one of their instance, and finds instances with
 * control signals that nobody is there to apply (rule G4) and timers that are over (rule E1), and
 * removes markers whose time is over. All of them are in one index, by the time at which they need it.
 */
export class Upkeep {
  readonly #db: Database
  readonly #sweep: (marker: MarkerDoc) => void
  /** When something needs care that this process knows of. */
  readonly #known = new CareTimes()
  #lookedAt = Number.NEGATIVE_INFINITY
  #askedAt = Number.NEGATIVE_INFINITY
  #standsMs = STANDS_MS

  /** @param sweep Ends a deletion that was interrupted. */
  constructor(db: Database, sweep: (marker: MarkerDoc) => void) {
    this.#db = db
    this.#sweep = sweep
  }

  /** Takes in when an instance will need care. */
  note(time: number | null | undefined): void {
    if (time == null || time < 0 || time > Number.MAX_SAFE_INTEGER / 2) return
    this.#known.note(time)
  }

  /** One that would have needed care then does not any more: most claims are given up long before they expire. */
  forget(time: number): void {
    this.#known.forget(time)
  }

  /** Whether it is time for a look. */
  get isDue(): boolean {
    return performance.now() - this.#lookedAt >= this.#standsMs || this.isKnownDue
  }

  /** Whether something is due that this process knows of. */
  get isKnownDue(): boolean {
    const first = this.#known.first()
    return first !== undefined && first <= this.#db.clock.now()
  }

  /**
   * Puts back what can be; `due` is for the caller to take care of.
   *
   * @param isExact Asks the server for its time first: what was due when the call came is found.
   */
  async look(
    isExact: boolean,
  ): Promise<{ readonly due: readonly string[]; readonly putBack: number }> {
    const isStale = performance.now() - this.#askedAt > CLOCK_STANDS_MS
    if (isExact || isStale || !this.#db.clock.isKnown) {
      this.#askedAt = performance.now()
      await this.#db.now()
    }
    const due = new Set<string>()
    let putBack = 0
    let isPast = false
    for (let looks = 0; looks < MAX_LOOKS; looks += 1) {
      this.#lookedAt = performance.now()
      const now = this.#db.clock.now()
      this.#known.passed(now)
      const docs = await this.#db.again(() =>
        this.#db.instances
          .find(
            { u: { $gt: 0, $lte: now }, ...(isPast ? NOT_DUE : undefined) },
            { projection: { g: 1, sw: 1, cs: 1, ps: 1, s: 1, 'e.t': 1, 'e.s': 1 } },
          )
          .limit(LIMIT)
          .toArray(),
      )
      const tookMs = performance.now() - this.#lookedAt
      this.#standsMs = Math.min(Math.max(STANDS_MS, SHARE * tookMs), MAX_STANDS_MS)
      const back: string[] = []
      const markers: string[] = []
      for (const doc of docs) {
        if (doc.g === undefined) {
          const marker = doc as unknown as MarkerDoc
          if (marker.sw === null) markers.push(marker._id)
          else this.#sweep(marker)
          continue
        }
        const isTimer = doc.e.some(({ t, s }) => t === TIMER_TASK_ID && s <= now)
        if (doc.cs !== null || doc.ps !== null || isTimer) due.add(doc._id)
        else back.push(doc._id)
      }
      const care = { $gt: 0, $lte: now }
      if (markers.length > 0) {
        const over = { _id: { $in: markers }, g: { $exists: false }, sw: null, u: care } as Document
        await this.#db.again(() => this.#db.instances.deleteMany(over))
      }
      if (back.length > 0) {
        await this.#db.again(() =>
          this.#db.inOrder(
            back.map((_id) => ({
              updateOne: { filter: { _id, g: { $exists: true }, u: care }, update: [...DERIVE] },
            })),
          ),
        )
        putBack += back.length
      }
      if (docs.length < LIMIT) break
      // A page of nothing but what others are to take care of, which may be what nobody can read:
      // what only has to be put back must not wait for that.
      if (back.length + markers.length === 0) {
        if (isPast) break
        isPast = true
      }
    }
    return { due: [...due], putBack }
  }

  /** When an instance needs care next, after a time. */
  async next(since: number): Promise<number> {
    const [doc] = await this.#db.again(() =>
      this.#db.instances
        .find({ u: { $gt: since } }, { projection: { u: 1 } })
        .sort({ u: 1 })
        .limit(1)
        .toArray(),
    )
    return doc?.u ?? Number.POSITIVE_INFINITY
  }
}
