import { BackendError, type TaskResult } from '@sayiir/persistence-core'
import type { OptimisticStore } from '@sayiir/persistence-core/adapter'
import type { Database } from './database.ts'
import { resultId, resultsOf, taskOf } from './part-ids.ts'
import { Gone, mustDiffer, type Payloads } from './payloads.ts'
import type { InstanceDoc, PayloadDoc } from './records.ts'

/** Tries of a read that needs several documents, each of which may change in between. */
export const MAX_READS = 20
/** Ids of one `$in` at most. */
const MAX_IDS = 1000

/** Outputs: the newest in an instance's document, the others in parts. */
export class MongoTaskResultStore {
  readonly #db: Database
  readonly #payloads: Payloads

  constructor(db: Database, payloads: Payloads) {
    this.#db = db
    this.#payloads = payloads
  }

  /**
   * All results in order: those that were moved to parts, and over them the tail. Parts may be newer
   * than the document that was read, never older: then it is read again (null). `gone`: so it is where
   * chunks are not there.
   */
  async all(doc: InstanceDoc): Promise<TaskResult[] | 'gone' | null> {
    const found = new Map<string, { readonly o: number; readonly p: PayloadDoc }>()
    if (doc.pa) {
      const { from, to } = resultsOf(doc.g, doc.rg)
      const parts = await this.#db.again(() =>
        this.#db.parts.find({ _id: { $gte: from, $lt: to } }, { batchSize: 10_000 }).toArray(),
      )
      if (parts.length > 0) {
        const again = await this.#db.again(() =>
          this.#db.instances.findOne({ _id: doc._id }, { projection: { g: 1, rg: 1 } }),
        )
        if (again?.g !== doc.g || again.rg !== doc.rg) return null
      }
      for (const { _id, o, p } of parts) {
        if (o === undefined || p === undefined) continue
        if (o > doc.lo) return null
        const taskId = taskOf(_id, doc.g, doc.rg)
        if (!doc.rv.includes(taskId)) found.set(taskId, { o, p })
      }
    }
    for (const { t, o, p } of doc.l) found.set(t, { o, p })
    const ordered = [...found].sort(([, a], [, b]) => a.o - b.o)
    try {
      const outputs = await this.#payloads.unpackAll(
        doc.g,
        ordered.map(([, { p }]) => p),
      )
      return outputs.map((output, index) => ({ taskId: ordered[index]?.[0] ?? '', output }))
    } catch (error) {
      if (error instanceof Gone) return 'gone'
      throw error
    }
  }

  async readOutputs(
    instanceId: string,
    taskIds: readonly string[],
  ): ReturnType<OptimisticStore['readOutputs']> {
    let before = ''
    for (let tries = 0; tries < MAX_READS; tries += 1) {
      const doc = await this.#db.again(() =>
        this.#db.instances.findOne(
          { _id: instanceId, g: { $exists: true } },
          { projection: { g: 1, n: 1, rg: 1, pa: 1, rv: 1, l: 1 } },
        ),
      )
      if (doc === null) return null
      const found = new Map(doc.l.map(({ t, p }) => [t, p]))
      const missing = taskIds.filter((taskId) => !found.has(taskId) && !doc.rv.includes(taskId))
      if (doc.pa) {
        for (let from = 0; from < missing.length; from += MAX_IDS) {
          const ids = missing
            .slice(from, from + MAX_IDS)
            .map((taskId) => resultId(doc.g, doc.rg, taskId))
          const parts = await this.#db.again(() =>
            this.#db.parts.find({ _id: { $in: ids } }).toArray(),
          )
          for (const { _id, p } of parts)
            if (p !== undefined) found.set(taskOf(_id, doc.g, doc.rg), p)
        }
      }
      try {
        const outputs = new Map<string, Uint8Array>()
        for (const taskId of taskIds) {
          const payload = found.get(taskId)
          if (payload !== undefined)
            outputs.set(taskId, await this.#payloads.unpack(doc.g, payload))
        }
        return outputs
      } catch (error) {
        if (!(error instanceof Gone)) throw error
        before = mustDiffer(doc, before)
      }
    }
    throw tooBusy(instanceId)
  }
}

/** @returns the error of a read that came between too many changes. */
export function tooBusy(instanceId: string): BackendError {
  return new BackendError(
    'UNAVAILABLE',
    'an instance is changed so often that it can not be read whole; try again later',
    { instanceId },
  )
}
