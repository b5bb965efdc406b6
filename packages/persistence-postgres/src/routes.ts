import type { Client } from './client.ts'
import { texts } from './literals.ts'
import { number } from './records.ts'

/** Routes that are remembered; a program has few. */
const MAX_ROUTES = 10_000

/** Ids of routes, what of a task decides which workers take it: its definition and its tags. Rows are only ever added. */
export class Routes {
  readonly #client: Client
  readonly #ids = new Map<string, number | Promise<number>>()

  constructor(client: Client) {
    this.#client = client
  }

  /** The route's id, if it is known; else a promise of it. */
  idOf(definitionHash: string, tags: readonly string[]): number | Promise<number> {
    const sorted = tags.length < 2 ? tags : [...new Set(tags)].sort()
    const key = tags.length === 0 ? definitionHash : `\0${JSON.stringify([definitionHash, sorted])}`
    const known = this.#ids.get(key)
    if (known !== undefined) return known
    const asked = this.#ask(key, definitionHash, sorted)
    this.#ids.set(key, asked)
    return asked
  }

  async #ask(key: string, definitionHash: string, tags: readonly string[]): Promise<number> {
    try {
      const [row = []] = await this.#client.query(
        'SELECT {s}.route_of($1::text, $2::text::text[])',
        [definitionHash, texts(tags)],
      )
      if (this.#ids.size >= MAX_ROUTES) this.#ids.clear()
      const id = number(row, 0)
      this.#ids.set(key, id)
      return id
    } catch (error) {
      this.#ids.delete(key)
      throw error
    }
  }
}
