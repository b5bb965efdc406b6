import type { CommitRecord } from '@sayiir/persistence-core/adapter'
import type { Database } from './database.ts'
import { commitId } from './part-ids.ts'
import type { CommitDoc, InstanceDoc } from './records.ts'

/** What is remembered of each task's last commit: in the instance's document, or moved to a part. */
export class CommitRecords {
  readonly #db: Database

  constructor(db: Database) {
    this.#db = db
  }

  async read(instanceId: string, taskId: string): Promise<CommitRecord | null> {
    const doc = await this.#db.again(() =>
      this.#db.instances.findOne(
        { _id: instanceId, g: { $exists: true } },
        { projection: { g: 1, pa: 1, cm: 1, cv: 1, e: 1 } },
      ),
    )
    if (doc === null) return null
    const inTail = doc.cm.find(({ t }) => t === taskId)
    const record = inTail ?? (doc.pa ? await this.#movedCommit(doc, taskId) : null)
    if (record == null) return null
    const { w: workerId, k: token, r: revision, s: status, b } = record
    const next = b === null ? null : await this.#broughtBy(b)
    return { workerId, token, revision, status, next }
  }

  /** A record that was moved to the parts, unless the task was claimed since. */
  async #movedCommit(
    doc: Pick<InstanceDoc, 'g' | 'e' | 'cv'>,
    taskId: string,
  ): Promise<CommitDoc | null> {
    const part = await this.#db.again(() =>
      this.#db.parts.findOne({ _id: commitId(doc.g, taskId) }),
    )
    const record = part?.c as CommitDoc | undefined
    if (record === undefined) return null
    const isVoid =
      doc.cv.some(({ t, k }) => t === taskId && k > record.k) ||
      doc.e.some(({ t, k, b }) => t === taskId && k > record.k && (b === null || b !== record.b))
    return isVoid ? null : record
  }

  /** The claim of that name. Instances with claims are in the index of those that will need care. */
  async #broughtBy(batch: string): Promise<CommitRecord['next']> {
    const doc = await this.#db.again(() =>
      this.#db.instances.findOne(
        { u: { $gt: 0 }, 'e.b': batch },
        { projection: { e: { $elemMatch: { b: batch } } } },
      ),
    )
    const entry = doc?.e[0]
    if (doc === null || entry === undefined || entry.w === null) return null
    return { instanceId: doc._id, taskId: entry.t, token: entry.k }
  }
}
