import type { WorkerFilter } from '@sayiir/persistence-core'
import { isServed } from '@sayiir/persistence-core/adapter'
import type { Connection } from './database.ts'

/** Filters whose routes are remembered; a program has few. */
const MAX_FILTERS = 64

interface Route {
  readonly id: number
  readonly definitionHash: string
  readonly tags: readonly string[]
}

interface RouteRow {
  readonly id: number
  readonly definition_hash: string
  readonly tags: string
}

/**
 * Routes: what of a task decides which workers take it, its definition and its tags. Rows are only
 * ever added, one for each combination that exists, so this process remembers those it has seen.
 */
export class Routes {
  readonly #idByKey = new Map<string, number>()
  #known: Route[] = []
  readonly #servedBy = new Map<string, { looked: number; readonly ids: number[] }>()

  /** The greatest id that is remembered. */
  get lastId(): number {
    return this.#known.at(-1)?.id ?? 0
  }

  /** The route of a task, made if it is new. Only in a write transaction. */
  idOf(db: Connection, definitionHash: string, tags: readonly string[]): number {
    const sorted = tags.length === 0 ? '[]' : JSON.stringify([...new Set(tags)].sort())
    const key = `${definitionHash}\0${sorted}`
    let id = this.#idByKey.get(key)
    if (id === undefined) {
      this.refresh(db)
      id = this.#idByKey.get(key)
    }
    if (id === undefined) {
      db.run('INSERT INTO {route} (definition_hash, tags) VALUES (?, ?)', definitionHash, sorted)
      this.refresh(db)
      id = this.#idByKey.get(key) as number
    }
    return id
  }

  /** Ids of the remembered routes that such a worker serves, ascending; null: all. */
  served(filter: WorkerFilter): readonly number[] | null {
    const { tags, definitionHashes } = filter
    if (tags === undefined && definitionHashes === undefined) return null
    const key = JSON.stringify([tags, definitionHashes])
    let served = this.#servedBy.get(key)
    if (served === undefined) {
      if (this.#servedBy.size >= MAX_FILTERS) this.#servedBy.clear()
      served = { looked: 0, ids: [] }
      this.#servedBy.set(key, served)
    }
    for (; served.looked < this.#known.length; served.looked += 1) {
      const route = this.#known[served.looked] as Route
      if (isServed(filter, route.definitionHash, route.tags)) served.ids.push(route.id)
    }
    return served.ids
  }

  /** Learns of routes that were added since. */
  refresh(db: Connection): void {
    const rows = db.all<RouteRow>(
      'SELECT id, definition_hash, tags FROM {route} WHERE id > ? ORDER BY id',
      this.lastId,
    )
    for (const { id, definition_hash: definitionHash, tags } of rows) {
      this.#idByKey.set(`${definitionHash}\0${tags}`, id)
      this.#known.push({ id, definitionHash, tags: JSON.parse(tags) as string[] })
    }
  }

  /** Forgets all: a transaction that may have added some was rolled back. */
  forget(): void {
    this.#idByKey.clear()
    this.#known = []
    this.#servedBy.clear()
  }
}
