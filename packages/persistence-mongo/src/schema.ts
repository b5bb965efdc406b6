import { BackendError } from '@sayiir/persistence-core'
import { pause } from '@sayiir/persistence-core/adapter'
import type { IndexDescription } from 'mongodb'
import type { Database } from './database.ts'
import { LEAST_END_KEY } from './end-key.ts'
import { isDuplicate, isPassing, toBackendError, UNAUTHORIZED } from './errors.ts'
import { REFUSE } from './expressions.ts'

/** The version of collections and indexes; one more with every change that an older version would misread. */
const SCHEMA = 1
const SCHEMA_ID = 'schema'
/** Two documents that nobody changes: which of them an update takes tells what a server can do. */
const PROBES = [
  { _id: 'probe:1', order: 1 },
  { _id: 'probe:2', order: 2 },
] as const
/** Tries to make the indexes while others make them too. */
const MAX_TRIES = 20

/**
 * Indexes of instances. Each is partial: an instance is in those only that concern it, and what
 * has ended is in the last one only. A server that plans each query anew looks at all of them each
 * time, also for a document by its id: there are no more than are needed.
 */
const INSTANCE_INDEXES: readonly IndexDescription[] = [
  // Ready tasks, for workers that take all routes, and for those that take some.
  {
    name: 'ready',
    key: { 'q.p': 1, 'q.k': 1 },
    partialFilterExpression: { 'q.k': { $gt: 0 } },
  },
  {
    name: 'ready_by_route',
    key: { 'q.r': 1, 'q.p': 1, 'q.k': 1 },
    partialFilterExpression: { 'q.k': { $gt: 0 } },
  },
  // Instances with free tasks of several routes.
  {
    name: 'mixed',
    key: { x: 1, 'q.k': 1 },
    partialFilterExpression: { x: { $gt: '' } },
  },
  // What needs care: claims that expire, timers, control signals, markers; and what can be pruned.
  { name: 'care', key: { u: 1 }, partialFilterExpression: { u: { $gt: LEAST_END_KEY } } },
]

/** Indexes of parts: chunks that nothing may refer to. */
const PART_INDEXES: readonly IndexDescription[] = [
  { name: 'unsettled', key: { at: 1 }, partialFilterExpression: { at: { $gt: 0 } } },
]

/**
 * Makes what is missing; any number of processes may at once (rule M4). What a newer version made
 * is left alone.
 *
 * @throws `SCHEMA`.
 */
export async function migrateSchema(db: Database): Promise<void> {
  if ((await readVersion(db)) === SCHEMA) return
  for (let tries = 1; ; tries += 1) {
    try {
      await db.run(async () => {
        await db.instances.createIndexes([...INSTANCE_INDEXES])
        await db.parts.createIndexes([...PART_INDEXES])
      })
      break
    } catch (error) {
      // Another process makes the same ones: some servers refuse one of two.
      if (tries === MAX_TRIES || BackendError.is(error, 'SCHEMA') || isForbidden(error)) throw error
      await pause(tries * 20 * Math.random())
    }
  }
  for (const doc of [...PROBES, { _id: SCHEMA_ID, version: SCHEMA }]) {
    await db.again(async () => {
      try {
        await db.meta.insertOne(doc)
      } catch (error) {
        if (!isDuplicate(error)) throw error
      }
    })
  }
  await checkSchema(db)
}

function isForbidden(error: unknown): boolean {
  return (error as { cause?: { code?: unknown } } | null)?.cause?.code === UNAUTHORIZED
}

/** @throws `SCHEMA` unless the schema is this version's; `UNAVAILABLE`. */
export async function checkSchema(db: Database): Promise<void> {
  if ((await readVersion(db)) === null) {
    throw new BackendError(
      'SCHEMA',
      `the collections are not set up: there is no ${db.meta.collectionName}; run migrate()`,
    )
  }
}

/** Null: not set up. */
async function readVersion(db: Database): Promise<number | null> {
  const doc = await db.again(() => db.meta.findOne({ _id: SCHEMA_ID }))
  if (doc === null) return null
  const { version } = doc
  if (version === SCHEMA) return version
  if (typeof version === 'number' && version > SCHEMA) {
    throw new BackendError(
      'SCHEMA',
      `the collections have version ${version}, and only ${SCHEMA} is known: a newer version set them up; upgrade`,
    )
  }
  throw new BackendError('SCHEMA', `what is in ${db.meta.collectionName} is not ours`)
}

/** Whether the server reads a sort off an index, rather than sorting what it found. */
export async function sortsByIndex(db: Database): Promise<boolean> {
  const plan = await db.again(() =>
    db.instances
      .find({ 'q.p': 1, 'q.k': { $gt: 0 } })
      .sort({ 'q.k': 1 })
      .explain('queryPlanner'),
  )
  const { queryPlanner } = plan as { queryPlanner?: { winningPlan?: unknown } }
  const winner = queryPlanner?.winningPlan
  return winner !== undefined && !JSON.stringify(winner).includes('"SORT"')
}

/** Whether an update of one document takes the first in an order that it is given. */
export async function updatesFirst(db: Database): Promise<boolean> {
  const ids = PROBES.map(({ _id }) => _id)
  try {
    for (const [_id, direction] of [
      [ids[0], 1],
      [ids[1], -1],
    ] as const) {
      const isIt = { $cond: [{ $eq: ['$_id', _id] }, '$$ROOT', REFUSE] }
      const { matchedCount } = await db.raw(() =>
        db.meta.updateOne({ _id: { $in: ids } }, [{ $replaceWith: isIt }], {
          sort: { order: direction },
        }),
      )
      if (matchedCount !== 1) return false
    }
    return true
  } catch (error) {
    if (isPassing(error)) throw toBackendError(error)
    // It does not know of it, or took another one.
    return false
  }
}
