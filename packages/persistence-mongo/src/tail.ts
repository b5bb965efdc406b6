import { BackendError } from '@sayiir/persistence-core'
import { Binary, type Document } from 'mongodb'
import type { Database, PartDoc } from './database.ts'
import { DUPLICATE_KEY } from './errors.ts'
import { commitId, resultId } from './part-ids.ts'
import { isBlob, type Payloads } from './payloads.ts'
import type { InstanceDoc } from './records.ts'

/** Versions of an instance from one move of its tail to the next: each adds one output, as a rule. */
const EVERY = 16
/** Outputs or commits for which it is worth it. */
const WORTH = 8
/** Outputs in a document after which one that is claimed is taken care of, however it came to them. */
export const LONG_TAIL: number = 3 * EVERY

/**
 * What this process has written is seen on the primary, also where it is not yet on others. Of the
 * rest only what came before that counts, so nothing can be undone that is copied and kept.
 */
const LOCAL = { readConcern: { level: 'local' } } as const

/** What a move takes out of a document. */
type Tail = Pick<InstanceDoc, 'g' | 'n' | 'rg' | 'lo'> & {
  readonly l: readonly { readonly t: string; readonly o: number }[]
  readonly cm: readonly { readonly t: string; readonly v: number }[]
}

/**
 * Moves the tail of a document, its newest outputs and commits, to documents of their own, so that
 * it stays small however many there are (rule S6).
 *
 * First what is there is copied, by the server, so that no payload travels; then it is taken out.
 * What was committed never changes, so nobody has to be kept from writing meanwhile; a copy only
 * ever replaces an older one, so one that comes late does no harm; and where it ends in the middle,
 * the next one does it again.
 */
export class Tails {
  readonly #db: Database
  readonly #payloads: Payloads
  readonly #moving = new Map<string, Promise<void>>()

  constructor(db: Database, payloads: Payloads) {
    this.#db = db
    this.#payloads = payloads
  }

  /**
   * After a write: moves the tail in the background where it may have become long. Where the last
   * move is still under way, the writer waits for it, so that a tail does not grow without bound.
   *
   * @param before The version before it; 0: there was none.
   * @param added How many outputs the write has brought.
   */
  async grew(
    instanceId: string,
    generation: string,
    { before, after, added }: { before: number; after: number; added: number },
  ): Promise<void> {
    if (Math.floor(before / EVERY) === Math.floor(after / EVERY) && added < EVERY) return
    await this.#moving.get(instanceId)
    this.move(instanceId, generation)
  }

  /** Moves what there is, in the background. */
  move(instanceId: string, generation: string): void {
    if (this.#moving.has(instanceId)) return
    const moving = this.#move(instanceId, generation)
      // It is tried again after a later write.
      .catch(() => undefined)
      .finally(() => this.#moving.delete(instanceId))
    this.#moving.set(instanceId, moving)
    this.#db.later(() => moving)
  }

  async #move(instanceId: string, generation: string): Promise<void> {
    const worth = WORTH - 1
    const isLong = [{ [`l.${worth}`]: { $exists: true } }, { [`cm.${worth}`]: { $exists: true } }]
    // Once this is written, whoever takes results away knows that copies of them may come.
    const doc = (await this.#db.run(() =>
      this.#db.instances.findOneAndUpdate(
        { _id: instanceId, g: generation, $or: isLong } as Document,
        { $set: { pa: true } },
        {
          returnDocument: 'after',
          projection: { g: 1, n: 1, rg: 1, lo: 1, 'l.t': 1, 'l.o': 1, 'cm.t': 1, 'cm.v': 1 },
        },
      ),
    )) as Tail | null
    if (doc === null) return
    await this.#copy(instanceId, doc)
    await this.#makeUp(instanceId, doc)
    await this.#takeOut(instanceId, doc)
  }

  /** Copies what has no copy yet; a server that can not do that leaves all to the next step. */
  async #copy(instanceId: string, { g, n, rg, lo }: Tail): Promise<void> {
    const idOf = (prefix: string, of: string) => ({ $concat: [prefix, of] })
    const results = {
      $map: {
        input: { $filter: { input: '$l', as: 'v', cond: { $lte: ['$$v.o', lo] } } },
        as: 'v',
        in: { _id: idOf(resultId(g, rg, ''), '$$v.t'), o: '$$v.o', p: '$$v.p' },
      },
    }
    const commits = {
      $map: {
        input: { $filter: { input: '$cm', as: 'v', cond: { $lte: ['$$v.v', n] } } },
        as: 'v',
        in: { _id: idOf(commitId(g, ''), '$$v.t'), v: '$$v.v', c: '$$v' },
      },
    }
    const copying = this.#db.again(() =>
      this.#db.instances
        .aggregate(
          [
            { $match: { _id: instanceId, g, rg, pa: true, n: { $gte: n } } },
            { $project: { _id: 0, d: { $concatArrays: [results, commits] } } },
            { $unwind: '$d' },
            { $replaceRoot: { newRoot: '$d' } },
            {
              $merge: {
                into: this.#db.parts.collectionName,
                on: '_id',
                whenMatched: 'keepExisting',
                whenNotMatched: 'insert',
              },
            },
          ],
          LOCAL,
        )
        .toArray(),
    )
    await copying.catch((error: unknown) => {
      if (BackendError.is(error, 'UNAVAILABLE')) throw error
    })
  }

  /**
   * Sees to it that everything has a copy, and none of them is older: where a task had an output
   * before, that one's copy is there still.
   */
  async #makeUp(instanceId: string, { g, n, rg, lo, l, cm }: Tail): Promise<void> {
    const wanted = new Map<string, number>([
      ...l.map(({ t, o }) => [resultId(g, rg, t), o] as const),
      ...cm.map(({ t, v }) => [commitId(g, t), v] as const),
    ])
    const there = await this.#db.again(() =>
      this.#db.parts
        .find({ _id: { $in: [...wanted.keys()] } }, { projection: { o: 1, v: 1 }, ...LOCAL })
        .toArray(),
    )
    for (const { _id, o, v } of there)
      if ((o ?? v ?? 0) >= (wanted.get(_id) ?? 0)) wanted.delete(_id)
    if (wanted.size === 0) return
    const doc = await this.#db.again(() =>
      this.#db.instances.findOne(
        { _id: instanceId, g, rg },
        { projection: { l: 1, cm: 1 }, ...LOCAL },
      ),
    )
    if (doc === null) return
    const parts: PartDoc[] = [
      ...doc.l.filter(({ o }) => o <= lo).map(({ t, o, p }) => ({ _id: resultId(g, rg, t), o, p })),
      ...doc.cm
        .filter(({ v }) => v <= n)
        .map((commit) => ({ _id: commitId(g, commit.t), v: commit.v, c: commit })),
    ]
    for (const part of parts) if (wanted.has(part._id)) await this.#put(g, part)
  }

  /** Writes a part that is not there, or older. */
  async #put(generation: string, { _id, ...part }: PartDoc): Promise<void> {
    try {
      return void (await this.#db.raw(() => this.#db.parts.insertOne({ _id, ...part })))
    } catch (error) {
      if ((error as { code?: unknown }).code !== DUPLICATE_KEY) throw error
    }
    const isOlder = part.o === undefined ? { v: { $lt: part.v ?? 0 } } : { o: { $lt: part.o } }
    const before = await this.#db.run(() =>
      this.#db.parts.findOneAndReplace({ _id, ...isOlder }, part, { returnDocument: 'before' }),
    )
    const payload = before?.p
    if (payload !== undefined && !(payload instanceof Binary) && isBlob(payload))
      this.#payloads.dropBlob(generation, payload)
  }

  /** Takes out what is copied: all that was there when the move began, and is there still. */
  async #takeOut(instanceId: string, { g, n, rg, lo }: Tail): Promise<void> {
    const isCopied = { $lte: ['$$v.o', lo] }
    const copied = { $filter: { input: '$l', as: 'v', cond: isCopied } }
    const isVoid = { $not: [{ $in: ['$$v', '$$copied.t'] }] }
    const stages: Document[] = [
      {
        $set: {
          rv: {
            $let: {
              vars: { copied },
              in: { $filter: { input: '$rv', as: 'v', cond: isVoid } },
            },
          },
          l: { $filter: { input: '$l', as: 'v', cond: { $not: [isCopied] } } },
          cm: { $filter: { input: '$cm', as: 'v', cond: { $gt: ['$$v.v', n] } } },
        },
      },
    ]
    await this.#db.run(() =>
      this.#db.instances.updateOne({ _id: instanceId, g, rg, n: { $gte: n } }, stages),
    )
  }
}
