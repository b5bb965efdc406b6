import type { WorkerFilter } from '@sayiir/persistence-core'
import { isServed } from '@sayiir/persistence-core/adapter'
import type { Database } from './database.ts'
import { DUPLICATE_KEY } from './errors.ts'
import { routeOf } from './records.ts'

const PREFIX = 'route:'
/** Routes that are remembered for being written down, at most. */
const MAX_WRITTEN = 10_000

/**
 * Routes: what of a task decides which workers take it, its definition and its tags. Each is
 * written down before the first task of it is, so a worker that takes only some knows which of
 * them to ask the index for.
 */
export class Routes {
  readonly #db: Database
  /** Those that are written down, or on their way. */
  readonly #written = new Map<string, Promise<void>>()

  constructor(db: Database) {
    this.#db = db
  }

  /** Writes a route down, unless it is known. Before anything of it is stored. */
  add(definitionHash: string, tags: readonly string[]): Promise<void> {
    const route = routeOf(definitionHash, tags)
    const known = this.#written.get(route)
    if (known !== undefined) return known
    // One that is forgotten is written once more, which changes nothing.
    if (this.#written.size >= MAX_WRITTEN) this.#written.clear()
    const writing = this.#write(route, definitionHash, tags)
    this.#written.set(route, writing)
    writing.catch(() => this.#written.delete(route))
    return writing
  }

  async #write(route: string, d: string, tags: readonly string[]): Promise<void> {
    const g = [...new Set(tags)].sort()
    await this.#db.again(async () => {
      try {
        await this.#db.meta.insertOne({ _id: PREFIX + route, d, g })
      } catch (error) {
        if ((error as { code?: unknown }).code !== DUPLICATE_KEY) throw error
      }
    })
  }

  /** The routes that such a worker serves; null: all. */
  async served(filter: WorkerFilter): Promise<readonly string[] | null> {
    const { tags, definitionHashes } = filter
    if (tags === undefined && definitionHashes === undefined) return null
    if (definitionHashes?.length === 0) return []
    const docs = await this.#db.again(() =>
      this.#db.meta
        .find({
          _id: { $gte: PREFIX, $lt: 'route;' },
          ...(definitionHashes === undefined ? undefined : { d: { $in: [...definitionHashes] } }),
        })
        .toArray(),
    )
    return docs
      .filter(({ d, g }) => isServed(filter, d as string, g as string[]))
      .map(({ _id }) => _id.slice(PREFIX.length))
  }
}
