import type { Document, Filter } from 'mongodb'
import type { Candidate } from './candidates.ts'
import { type Claim, claimIn, claimSets, TOLERANCE_MS } from './claims.ts'
import type { Database } from './database.ts'
import { literal, setInTime } from './expressions.ts'
import type { InstanceDoc } from './records.ts'

/** An update of the first in an order. */
export interface FirstUpdate {
  readonly filter: Filter<InstanceDoc>
  readonly update: Document[]
  readonly sort: Readonly<Record<string, 1>>
}

/**
 * What became of a claim: `unsent` it was not asked for, `refused` another task is better, or the
 * one that was meant has changed, `unknown` only the document tells.
 */
export type BestOutcome = 'unsent' | 'landed' | 'refused' | 'unknown'

/**
 * The claim of a task that was found earlier and is supposed to be the best still. The server looks
 * for what is best and refuses, unless it is that very task as it was found (rule D2). So nothing
 * has to be read back, and it can travel together with a commit.
 */
export class BestClaim {
  readonly claim: Claim
  readonly candidate: Candidate
  outcome: BestOutcome = 'unsent'
  readonly #db: Database
  readonly #filter: Filter<InstanceDoc>
  readonly #isTied: boolean
  #doc: InstanceDoc

  /**
   * @param filter Selects all that are as good or better.
   * @param isTied Whether another one is known to be as good.
   */
  constructor(
    db: Database,
    claim: Claim,
    candidate: Candidate,
    filter: Filter<InstanceDoc>,
    isTied: boolean,
  ) {
    this.#db = db
    this.claim = claim
    this.candidate = candidate
    this.#filter = filter
    this.#isTied = isTied
    this.#doc = candidate.doc
  }

  /** The instance with the claim, if it lands. */
  get doc(): InstanceDoc {
    return this.#doc
  }

  /** The update, as it is sent now; until told otherwise, what becomes of it is not known. */
  send(): FirstUpdate {
    this.outcome = 'unknown'
    const { doc: before, entry } = this.candidate
    const at = this.#db.clock.now()
    const taskIds = [entry.t]
    this.#doc = claimIn(before, taskIds, this.claim, at)
    const isIt = [
      { $eq: ['$_id', literal(before._id)] },
      { $eq: ['$g', before.g] },
      { $eq: ['$y', before.y] },
    ]
    const sets = claimSets(before, this.#doc, taskIds)
    return {
      filter: this.#filter,
      update: [setInTime(sets, at, TOLERANCE_MS, isIt)],
      sort: this.#isTied ? { 'q.k': 1, _id: 1 } : { 'q.k': 1 },
    }
  }

  /** Finds out what became of it. */
  async look(): Promise<void> {
    const { _id } = this.candidate.doc
    await this.#db.catchUp([_id])
    const doc = await this.#db.again(() =>
      this.#db.instances.findOne({ _id, 'e.b': this.claim.batch }, { projection: { _id: 1 } }),
    )
    this.outcome = doc === null ? 'refused' : 'landed'
  }
}
