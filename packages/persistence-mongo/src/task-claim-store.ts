import type { ClaimTaskParams, TaskClaimRef } from '@sayiir/persistence-core'
import {
  type HeldClaim,
  isFree,
  isOpen,
  type OptimisticStore,
  type Prolongation,
} from '@sayiir/persistence-core/adapter'
import type { Document, Filter } from 'mongodb'
import type { Database } from './database.ts'
import { isPassing, toBackendError } from './errors.ts'
import {
  changeEntries,
  claimFields,
  DERIVE,
  expiry,
  literal,
  NEXT_CHANGE,
  NEXT_TOKEN,
  NOW,
} from './expressions.ts'
import type { KnownDocuments } from './known-documents.ts'
import { FOREVER, type InstanceDoc, toClaim } from './records.ts'
import { LIGHT, type MongoSnapshotStore } from './snapshot-store.ts'
import type { Upkeep } from './upkeep.ts'

/** A time that is over: care is needed at once. */
const CARE_NOW = 1

/**
 * Stages that claim the entry of a task. What the indexes hold of an instance with other entries is
 * left to {@link settleClaim}, and until then to whoever looks for what needs care: a pipeline that
 * derives it costs more than all the rest, and most have just one.
 *
 * @param taskId An expression.
 */
export function claimStages(
  taskId: Document | string,
  workerId: string,
  ttlMs: number | null,
  batch: string,
): Document[] {
  const isIts = { $eq: ['$$v.t', taskId] }
  const isAlone = { $eq: [{ $size: '$e' }, 1] }
  return [
    {
      $set: {
        tk: NEXT_TOKEN,
        y: NEXT_CHANGE,
        cm: { $filter: { input: '$cm', as: 'v', cond: { $ne: ['$$v.t', taskId] } } },
        // In a stage, `$tk` is still the one before.
        e: changeEntries(isIts, { ...claimFields(workerId, ttlMs, batch), k: NEXT_TOKEN }),
        q: null,
        x: null,
        u: { $cond: [isAlone, expiry(NOW, ttlMs), CARE_NOW] },
      },
    },
  ]
}

/**
 * What the indexes hold of an instance of which one of several tasks was claimed.
 *
 * @returns when the instance needs care: at once where that failed, since the claim has landed.
 */
export async function settleClaim(
  db: Database,
  { _id, g, u }: Pick<InstanceDoc, '_id' | 'g' | 'u'>,
): Promise<number | null> {
  if (u !== CARE_NOW) return u
  const deriving = db.again(() =>
    db.instances.findOneAndUpdate({ _id, g }, [...DERIVE], {
      returnDocument: 'after',
      projection: { u: 1 },
    }),
  )
  return deriving.then(
    (doc) => doc?.u ?? null,
    () => CARE_NOW,
  )
}

/** Claims of single tasks. */
export class MongoTaskClaimStore {
  readonly #db: Database
  readonly #snapshots: MongoSnapshotStore
  readonly #upkeep: Upkeep
  readonly #documents: KnownDocuments

  constructor(
    db: Database,
    snapshots: MongoSnapshotStore,
    upkeep: Upkeep,
    documents: KnownDocuments,
  ) {
    this.#db = db
    this.#snapshots = snapshots
    this.#upkeep = upkeep
    this.#documents = documents
  }

  async claimTask(params: ClaimTaskParams): ReturnType<OptimisticStore['claimTask']> {
    if (!this.#db.clock.isKnown) await this.#db.now()
    const { instanceId, taskId } = params
    for (;;) {
      const batch = this.#snapshots.newId()
      const doc = await this.#claim(params, batch)
      if (doc === null) {
        const outcome = await this.#whyNot(instanceId, taskId)
        if (outcome === 'available') continue
        return { outcome }
      }
      this.#upkeep.note(await settleClaim(this.#db, doc))
      const entry = doc.e.find(({ t, b }) => t === taskId && b === batch)
      const claim = entry === undefined ? null : toClaim(entry)
      if (claim === null) return { outcome: 'unavailable' }
      this.#db.clock.observe(claim.claimedAt)
      const stored = await this.#snapshots.stored(doc)
      return { outcome: 'claimed', claim, ...(stored === null ? undefined : { stored }) }
    }
  }

  async #claim(
    { instanceId, taskId, workerId, ttlMs }: ClaimTaskParams,
    batch: string,
  ): Promise<InstanceDoc | null> {
    const now = this.#db.clock.now()
    const filter: Filter<InstanceDoc> = {
      _id: instanceId,
      s: 'in-progress',
      cs: null,
      ps: null,
      e: { $elemMatch: { t: taskId, m: false, s: { $lte: now }, x: { $lte: now } } },
    }
    const claim = () =>
      this.#db.raw(() =>
        this.#db.instances.findOneAndUpdate(
          filter,
          claimStages(literal(taskId), workerId, ttlMs, batch),
          { returnDocument: 'after', projection: LIGHT },
        ),
      )
    try {
      return (await claim()) as InstanceDoc | null
    } catch (error) {
      if (!isPassing(error)) throw toBackendError(error)
      // It may have landed: then the entry has this claim's name.
      await this.#db.catchUp([instanceId])
      const before = await this.#claimedBefore(instanceId, batch)
      return before ?? ((await this.#db.run(claim)) as InstanceDoc | null)
    }
  }

  #claimedBefore(instanceId: string, batch: string): Promise<InstanceDoc | null> {
    return this.#db.run(() =>
      this.#db.instances.findOne({ _id: instanceId, 'e.b': batch }, { projection: LIGHT }),
    )
  }

  /** By what is there now: `available` if that has changed since, or the time has come. */
  async #whyNot(
    instanceId: string,
    taskId: string,
  ): Promise<'missing' | 'unavailable' | 'timer' | 'available'> {
    const { stored, now } = await this.#snapshots.read(instanceId)
    if (stored === null) return 'missing'
    if (!isOpen(stored)) return 'unavailable'
    const entry = stored.entries.find((one) => one.taskId === taskId)
    if (entry !== undefined) {
      if (!isFree(entry, now)) return 'unavailable'
      return entry.timer ? 'timer' : 'available'
    }
    // Behind a timer that has no task there may be one once it is over.
    const isOver = stored.entries.some((one) => one.timer && isFree(one, now))
    return isOver ? 'timer' : 'unavailable'
  }

  async changeClaim(
    ref: TaskClaimRef,
    change: Parameters<OptimisticStore['changeClaim']>[1],
  ): Promise<HeldClaim | null> {
    const { instanceId, taskId, workerId, token } = ref
    const filter: Filter<InstanceDoc> = {
      _id: instanceId,
      e: {
        $elemMatch: { t: taskId, w: workerId, ...(token === undefined ? undefined : { k: token }) },
      },
    }
    const isIts = { $eq: ['$$v.t', literal(taskId)] }
    const fields = change.kind === 'release' ? { w: null, x: 0, b: null } : { x: prolonged(change) }
    const update = [{ $set: { e: changeEntries(isIts, fields), y: NEXT_CHANGE } }, ...DERIVE]
    const send = () =>
      this.#db.instances.findOneAndUpdate(filter, update, {
        returnDocument: 'after',
        projection: { e: 1, u: 1 },
      })
    this.#documents.delete(instanceId)
    // To extend twice is more than once.
    const doc = await (change.kind === 'extend' ? this.#db.run(send) : this.#db.again(send))
    this.#upkeep.note(doc?.u)
    const entry = doc?.e.find(({ t }) => t === taskId)
    if (entry === undefined) return null
    return toClaim(change.kind === 'release' ? { ...entry, w: workerId } : entry)
  }

  /** Takes a claim back that nobody was told of: it was not even a delivery. */
  async undo({ instanceId, taskId, token }: TaskClaimRef): Promise<void> {
    const isIts = { $and: [{ $eq: ['$$v.t', literal(taskId)] }, { $eq: ['$$v.k', token] }] }
    const fields = { w: null, x: 0, b: null, d: { $subtract: ['$$v.d', 1] } }
    await this.#db.run(() =>
      this.#db.instances.updateOne(
        { _id: instanceId, e: { $elemMatch: { t: taskId, k: token, x: { $gt: 0 } } } } as Document,
        [{ $set: { e: changeEntries(isIts, fields), y: NEXT_CHANGE } }, ...DERIVE],
      ),
    )
  }
}

/** The expiry of a claim that is held, moved; one that never expires stays so. */
function prolonged(change: Prolongation): Document {
  const from = change.kind === 'renew' ? NOW : { $max: ['$$v.x', NOW] }
  return { $cond: [{ $eq: ['$$v.x', FOREVER] }, FOREVER, expiry(from, change.ms)] }
}
