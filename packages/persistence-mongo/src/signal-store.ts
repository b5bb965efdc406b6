import type { Document } from 'mongodb'
import type { Database } from './database.ts'
import { withoutFirst } from './event-update.ts'
import { NEXT_CHANGE } from './expressions.ts'
import { Gone, isBlob, mustDiffer, type Payloads } from './payloads.ts'

/** Events that wait in an instance's document. */
export class MongoSignalStore {
  readonly #db: Database
  readonly #payloads: Payloads

  constructor(db: Database, payloads: Payloads) {
    this.#db = db
    this.#payloads = payloads
  }

  /** The oldest event of that name. */
  async readEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    let before = ''
    for (;;) {
      const doc = await this.#db.again(() =>
        this.#db.instances.findOne(
          { _id: instanceId, 'ev.s': signalName },
          { projection: { g: 1, n: 1, ev: { $elemMatch: { s: signalName } } } },
        ),
      )
      const payload = doc?.ev?.[0]?.p
      if (doc === null || payload === undefined) return null
      try {
        return await this.#payloads.unpack(doc.g, payload)
      } catch (error) {
        // It was taken meanwhile.
        if (!(error instanceof Gone)) throw error
        before = mustDiffer(doc, before)
      }
    }
  }

  /** Takes it away; at most once, so it is not sent again after a lost reply. */
  async takeEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    const update: Document[] = [
      {
        $set: {
          ev: withoutFirst(signalName),
          qe: { $subtract: ['$qe', 1] },
          n: { $add: ['$n', 1] },
          y: NEXT_CHANGE,
        },
      },
    ]
    const doc = await this.#db.run(() =>
      this.#db.instances.findOneAndUpdate({ _id: instanceId, 'ev.s': signalName }, update, {
        returnDocument: 'before',
        projection: { g: 1, ev: { $elemMatch: { s: signalName } } },
      }),
    )
    const payload = doc?.ev?.[0]?.p
    if (doc === null || payload === undefined) return null
    const bytes = await this.#payloads.unpack(doc.g, payload)
    if (isBlob(payload)) this.#payloads.dropBlob(doc.g, payload)
    return bytes
  }
}
