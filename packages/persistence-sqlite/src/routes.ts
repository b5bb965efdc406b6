import type { WorkerFilter } from '@sayiir/persistence-core'
import { isServed } from '@sayiir/persistence-core/adapter'
import type { Connection } from './database.ts'

/** Routes whose ids are remembered: those of a program's tasks, as a rule. */
const MAX_KEYS = 10_000
/** Filters whose routes are remembered; a program has few. */
const MAX_FILTERS = 64
/** Ids that are remembered for all filters together, but for the one that was asked for last. */
const MAX_IDS = 1_000_000
/** Rows that are read at a time. */
const PAGE = 1000

interface RouteRow {
  readonly id: number
  readonly definition_hash: string
  readonly tags: string
}

/** The routes that a filter lets through. */
export interface ServedRoutes {
  /** Ascending. */
  readonly ids: readonly number[]
  /** Those after it have not been looked at. */
  readonly lastId: number
}

/**
 * Routes: what of a task decides which workers take it, its definition and its tags. Rows are only
 * ever added, one for each combination that there ever was, which may be many: so of those this
 * process remembers only which ids its workers' filters let through, and the ids of some.
 */
export class Routes {
  readonly #idByKey = new Map<string, number>()
  /** The filter that was asked for last at the end. */
  readonly #servedBy = new Map<string, { lastId: number; readonly ids: number[] }>()

  /** The route of a task, made if it is new. Only in a write transaction. */
  idOf(db: Connection, definitionHash: string, tags: readonly string[]): number {
    const sorted = tags.length === 0 ? '[]' : JSON.stringify([...new Set(tags)].sort())
    const key = `${definitionHash}\0${sorted}`
    const known = this.#idByKey.get(key)
    if (known !== undefined) return known
    const find = (): number | undefined =>
      db.get<{ id: number }>(
        'SELECT id FROM {route} WHERE definition_hash = ? AND tags = ?',
        definitionHash,
        sorted,
      )?.id
    let id = find()
    if (id === undefined) {
      db.run('INSERT INTO {route} (definition_hash, tags) VALUES (?, ?)', definitionHash, sorted)
      id = find() as number
    }
    if (this.#idByKey.size >= MAX_KEYS) this.#idByKey.clear()
    this.#idByKey.set(key, id)
    return id
  }

  /**
   * The routes that such a worker serves; null: all.
   *
   * @param upTo A route that is to be looked at, with all before it and after it that there are.
   */
  served(db: Connection, filter: WorkerFilter, upTo = 0): ServedRoutes | null {
    const { tags, definitionHashes } = filter
    if (tags === undefined && definitionHashes === undefined) return null
    const key = JSON.stringify([tags, definitionHashes])
    const known = this.#servedBy.get(key)
    const served = known ?? { lastId: 0, ids: [] }
    this.#servedBy.delete(key)
    this.#servedBy.set(key, served)
    if (known === undefined || upTo > served.lastId) {
      for (let read = PAGE; read === PAGE; ) {
        const rows = db.all<RouteRow>(
          `SELECT id, definition_hash, tags FROM {route} WHERE id > ? ORDER BY id LIMIT ${PAGE}`,
          served.lastId,
        )
        for (const { id, definition_hash: definitionHash, tags: own } of rows) {
          if (isServed(filter, definitionHash, JSON.parse(own) as string[])) served.ids.push(id)
          served.lastId = id
        }
        read = rows.length
      }
      this.#makeRoom()
    }
    return served
  }

  /** Forgets all: a transaction that may have added some was rolled back. */
  forget(): void {
    this.#idByKey.clear()
    this.#servedBy.clear()
  }

  #makeRoom(): void {
    let count = 0
    for (const { ids } of this.#servedBy.values()) count += ids.length
    for (const [key, { ids }] of this.#servedBy) {
      const { size } = this.#servedBy
      if (size === 1 || (size <= MAX_FILTERS && count <= MAX_IDS)) break
      this.#servedBy.delete(key)
      count -= ids.length
    }
  }
}
