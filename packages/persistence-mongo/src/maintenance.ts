import type {
  BackendStats,
  InstanceStatus,
  PruneParams,
  PruneResult,
} from '@sayiir/persistence-core'
import type { Filter } from 'mongodb'
import type { Database } from './database.ts'
import { endedBeforeRange } from './end-key.ts'
import { chunksOf } from './part-ids.ts'
import { isBlob } from './payloads.ts'
import type { InstanceDoc, PayloadDoc } from './records.ts'
import { CLOCK_STEP_MS, type MongoSnapshotStore } from './snapshot-store.ts'

/** Instances that are deleted at a time at most. */
const BATCH = 50
/** Milliseconds after which chunks that nothing refers to were left by a writer that died. */
const LEFT_AFTER_MS = 3_600_000
/** Chunks that one call takes a look at, at most. */
const LEFT_LIMIT = 100

/** Pruning and numbers. */
export class MongoMaintenance {
  readonly #db: Database
  readonly #snapshots: MongoSnapshotStore

  constructor(db: Database, snapshots: MongoSnapshotStore) {
    this.#db = db
    this.#snapshots = snapshots
  }

  async prune(
    { endedBefore, statuses, limit, dryRun }: Required<PruneParams>,
    signal: AbortSignal | undefined,
  ): Promise<PruneResult> {
    if (statuses.length === 0) return { deleted: 0, more: false }
    const ranges = statuses.map((status) => ({ u: endedBeforeRange(status, endedBefore) }))
    const filter: Filter<InstanceDoc> = ranges.length === 1 ? { ...ranges[0] } : { $or: ranges }
    const find = (count: number) =>
      this.#db.again(() =>
        this.#db.instances
          .find(filter, { projection: { pa: 1 }, batchSize: count })
          .limit(count)
          .toArray(),
      )
    if (dryRun) {
      const found = await find(limit + 1)
      return { deleted: Math.min(found.length, limit), more: found.length > limit }
    }
    let deleted = 0
    for (;;) {
      signal?.throwIfAborted()
      const size = Math.min(limit - deleted, BATCH)
      const found = await find(size + 1)
      deleted += await this.#remove(filter, found.slice(0, size))
      if (found.length <= size || deleted >= limit) {
        await this.sweepChunks(signal)
        return { deleted, more: found.length > size }
      }
    }
  }

  /** Deletes those that are simple together, the others one by one; how many. */
  async #remove(
    filter: Filter<InstanceDoc>,
    docs: readonly Pick<InstanceDoc, '_id' | 'pa'>[],
  ): Promise<number> {
    const ids = docs.map(({ _id }) => _id)
    const old = (this.#db.clock.now() - CLOCK_STEP_MS) * 1000
    const { deletedCount } = await this.#db.again(() =>
      this.#db.instances.deleteMany({
        ...filter,
        _id: { $in: ids },
        pa: false,
        tk: { $lte: old },
      }),
    )
    if (deletedCount === docs.length) return deletedCount
    const left = await this.#db.again(() =>
      this.#db.instances
        .find({ ...filter, _id: { $in: ids } }, { projection: { _id: 1 } })
        .toArray(),
    )
    // Of one that was deleted and started anew meanwhile, the new life is not touched.
    const removed = await Promise.all(left.map(({ _id }) => this.#snapshots.remove(_id, filter)))
    return deletedCount + removed.filter((one) => one).length
  }

  /** Deletes chunks that a writer left behind before a document referred to them. */
  async sweepChunks(signal: AbortSignal | undefined): Promise<void> {
    const before = this.#db.clock.now() - LEFT_AFTER_MS
    const chunks = await this.#db.again(() =>
      this.#db.parts
        .find({ at: { $gt: 0, $lte: before } }, { projection: { i: 1, at: 1 } })
        .limit(LEFT_LIMIT)
        .toArray(),
    )
    const blobs = new Map<string, { readonly generation: string; readonly instanceId: string }>()
    for (const { _id, i } of chunks) {
      const [generation, , blob] = _id.split(':')
      if (generation !== undefined && blob !== undefined && i !== undefined)
        blobs.set(blob, { generation, instanceId: i })
    }
    for (const [blob, { generation, instanceId }] of blobs) {
      signal?.throwIfAborted()
      const { from, to } = chunksOf(generation, blob)
      const range = { _id: { $gte: from, $lt: to } }
      if (await this.#isReferred(generation, instanceId, blob)) {
        await this.#db.again(() => this.#db.parts.updateMany(range, { $unset: { at: '' } }))
      } else await this.#db.again(() => this.#db.parts.deleteMany(range))
    }
  }

  async #isReferred(generation: string, instanceId: string, blob: string): Promise<boolean> {
    const doc = await this.#db.again(() =>
      this.#db.instances.findOne(
        { _id: instanceId, g: generation },
        { projection: { i: 1, f: 1, l: 1, ev: 1 } },
      ),
    )
    if (doc === null) return false
    const payloads: (PayloadDoc | null)[] = [
      doc.i,
      doc.f,
      ...doc.l.map(({ p }) => p),
      ...doc.ev.map(({ p }) => p),
    ]
    if (payloads.some((payload) => payload !== null && isBlob(payload) && payload.b === blob))
      return true
    const from = `${generation}:r:`
    const part = await this.#db.again(() =>
      this.#db.parts.findOne({ _id: { $gte: from, $lt: `${generation}:r;` }, 'p.b': blob }),
    )
    return part !== null
  }

  async stats(): Promise<BackendStats> {
    const now = await this.#db.now()
    const byStatus: Record<InstanceStatus, number> = {
      'in-progress': 0,
      completed: 0,
      failed: 0,
      cancelled: 0,
      paused: 0,
    }
    const isOpen = {
      $and: [{ $eq: ['$s', 'in-progress'] }, { $eq: ['$cs', null] }, { $eq: ['$ps', null] }],
    }
    const isAvailable = {
      $and: [isOpen, { $lte: ['$e.x', now] }, { $lte: ['$e.s', now] }],
    }
    const [counts, tasks] = await Promise.all([
      this.#db.again(() =>
        this.#db.instances
          .aggregate<{ _id: InstanceStatus; count: number }>([
            { $match: { g: { $exists: true } } },
            { $group: { _id: '$s', count: { $sum: 1 } } },
          ])
          .toArray(),
      ),
      this.#db.again(() =>
        this.#db.instances
          .aggregate<{ available: number; claimed: number; oldest: number | null }>([
            { $match: { s: { $in: ['in-progress', 'paused'] } } },
            { $project: { s: 1, cs: 1, ps: 1, 'e.t': 1, 'e.x': 1, 'e.s': 1 } },
            { $unwind: '$e' },
            { $match: { 'e.t': { $ne: '' } } },
            {
              $group: {
                _id: null,
                available: { $sum: { $cond: [isAvailable, 1, 0] } },
                claimed: { $sum: { $cond: [{ $gt: ['$e.x', now] }, 1, 0] } },
                oldest: { $min: { $cond: [isAvailable, '$e.s', null] } },
              },
            },
          ])
          .toArray(),
      ),
    ])
    for (const { _id, count } of counts) byStatus[_id] = count
    const { available, claimed, oldest } = tasks[0] ?? { available: 0, claimed: 0, oldest: null }
    return {
      byStatus,
      available,
      claimed,
      oldestAvailableAgeMs: available === 0 || oldest === null ? null : now - oldest,
    }
  }
}
