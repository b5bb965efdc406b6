import { Binary, type Document } from 'mongodb'
import type { Database, PartDoc } from './database.ts'
import { DUPLICATE_KEY } from './errors.ts'
import { commitId, resultId } from './part-ids.ts'
import { isBlob, type Payloads } from './payloads.ts'

/** Outputs and commits in a document after which they are moved out of it. */
const MAX_TAIL = 32
/** So many that the next writer waits until they are. */
const FULL_TAIL = 256

/**
 * Moves the tail of a document, its newest outputs and commits, to documents of their own, so that
 * it stays small however many there are (rule S6).
 *
 * First what is there is copied, then it is taken out. What was committed never changes, so nobody
 * has to be kept from writing meanwhile; a copy only ever replaces an older one, so one that comes
 * late does no harm; and where it ends in the middle, the next one does it again.
 */
export class Tails {
  readonly #db: Database
  readonly #payloads: Payloads
  readonly #moving = new Map<string, Promise<void>>()

  constructor(db: Database, payloads: Payloads) {
    this.#db = db
    this.#payloads = payloads
  }

  /** After a write: moves the tail in the background where it has become long. */
  async grew(instanceId: string, generation: string, length: number): Promise<void> {
    if (length <= MAX_TAIL) return
    const moving = this.#moving.get(instanceId) ?? this.#start(instanceId, generation)
    if (length > FULL_TAIL) await moving
  }

  #start(instanceId: string, generation: string): Promise<void> {
    const moving = this.#move(instanceId, generation)
      // It is tried again after the next write.
      .catch(() => undefined)
      .finally(() => this.#moving.delete(instanceId))
    this.#moving.set(instanceId, moving)
    this.#db.later(() => moving)
    return moving
  }

  async #move(instanceId: string, generation: string): Promise<void> {
    // Once this is written, whoever takes results away knows that copies of them may come.
    const doc = await this.#db.run(() =>
      this.#db.instances.findOneAndUpdate(
        { _id: instanceId, g: generation },
        { $set: { pa: true } },
        { returnDocument: 'after', projection: { rg: 1, l: 1, cm: 1 } },
      ),
    )
    if (doc === null) return
    const { rg, l, cm } = doc
    await this.#copy(generation, [
      ...l.map(({ t, o, p }) => ({ _id: resultId(generation, rg, t), o, p })),
      ...cm.map((commit) => ({ _id: commitId(generation, commit.t), v: commit.v, c: commit })),
    ])
    const isCopied = { $in: ['$$v.o', l.map(({ o }) => o)] }
    const copied = { $filter: { input: '$l', as: 'v', cond: isCopied } }
    const stages: Document[] = [
      {
        $set: {
          rv: {
            $let: {
              vars: { copied },
              in: {
                $filter: {
                  input: '$rv',
                  as: 'v',
                  cond: { $not: [{ $in: ['$$v', '$$copied.t'] }] },
                },
              },
            },
          },
          l: { $filter: { input: '$l', as: 'v', cond: { $not: [isCopied] } } },
          cm: {
            $filter: {
              input: '$cm',
              as: 'v',
              cond: { $not: [{ $in: ['$$v.v', cm.map(({ v }) => v)] }] },
            },
          },
        },
      },
    ]
    await this.#db.run(() =>
      this.#db.instances.updateOne({ _id: instanceId, g: generation, rg }, stages),
    )
  }

  /** Writes parts that are not there, or older. */
  async #copy(generation: string, parts: readonly PartDoc[]): Promise<void> {
    if (parts.length === 0) return
    let older: readonly PartDoc[] = []
    try {
      await this.#db.raw(() => this.#db.parts.insertMany([...parts], { ordered: false }))
    } catch (error) {
      const { writeErrors } = error as { writeErrors?: unknown }
      if (!Array.isArray(writeErrors)) throw error
      const failed = writeErrors as readonly { readonly index: number; readonly code: number }[]
      if (failed.some(({ code }) => code !== DUPLICATE_KEY)) throw error
      older = failed.flatMap(({ index }) => parts[index] ?? [])
    }
    for (const { _id, ...part } of older) {
      const isOlder = part.o === undefined ? { v: { $lt: part.v ?? 0 } } : { o: { $lt: part.o } }
      const before = await this.#db.run(() =>
        this.#db.parts.findOneAndReplace({ _id, ...isOlder }, part, { returnDocument: 'before' }),
      )
      const payload = before?.p
      if (payload !== undefined && !(payload instanceof Binary) && isBlob(payload))
        this.#payloads.drop({ generation, blobs: [payload.b] })
    }
  }
}
