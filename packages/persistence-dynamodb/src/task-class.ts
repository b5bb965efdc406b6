import type { WorkerFilter } from '@sayiir/persistence-core'
import { type DispatchEntry, isServed } from '@sayiir/persistence-core/adapter'
import type { Attributes } from './expressions.ts'
import { digest, type Keys } from './keys.ts'
import type { Service } from './service.ts'

/** Tasks that the same workers take, and that are alike in urgency: within a class, rank is time. */
export interface TaskClass {
  readonly id: string
  readonly definitionHash: string
  /** Sorted, each once. */
  readonly tags: readonly string[]
  readonly priority: number
}

/** The class of a task. */
export function classOf(
  definitionHash: string,
  { tags, priority }: Pick<DispatchEntry, 'tags' | 'priority'>,
): TaskClass {
  const sorted = tags.length < 2 ? tags : [...new Set(tags)].sort()
  const id = digest(definitionHash, String(priority), ...sorted).slice(0, 12)
  return { id, definitionHash, tags: sorted, priority }
}

/** Milliseconds after which a class in use is noted as such again. */
const NOTE_EVERY_MS = 3_600_000
/** Notes that are remembered, at most but for those of the last hour. */
const MAX_NOTED = 1000
/** Milliseconds after which a class that nobody noted, and that has no tasks, may be forgotten. */
const FORGET_AFTER_MS: number = 30 * 24 * 3_600_000

/**
 * The classes that there are. A worker asks the index for each class that it serves, so it has to
 * know them: each is written down before the first task of it.
 */
export class TaskClasses {
  readonly #service: Service
  readonly #keys: Keys
  readonly #known = new Map<string, TaskClass>()
  /** When this process last noted a class. */
  readonly #noted = new Map<string, number>()
  /** Notes on their way. */
  readonly #notes = new Map<string, Promise<void>>()

  constructor(service: Service, keys: Keys) {
    this.#service = service
    this.#keys = keys
  }

  /** Makes sure that workers will look for tasks of these classes. */
  async ensure(classes: Iterable<TaskClass>): Promise<void> {
    const now = this.#service.clock.now()
    const notes: Promise<void>[] = []
    for (const one of classes) {
      if (now - (this.#noted.get(one.id) ?? -Infinity) <= NOTE_EVERY_MS) continue
      let note = this.#notes.get(one.id)
      if (note === undefined) {
        note = this.#note(one, now).finally(() => this.#notes.delete(one.id))
        this.#notes.set(one.id, note)
      }
      notes.push(note)
    }
    await Promise.all(notes)
  }

  async #note(one: TaskClass, now: number): Promise<void> {
    await this.#service.put(
      { p: this.#keys.classes, s: one.id },
      {
        d: { S: one.definitionHash },
        n: { N: String(one.priority) },
        u: { N: String(now) },
        ...(one.tags.length === 0 ? undefined : { t: { S: JSON.stringify(one.tags) } }),
      },
    )
    this.#known.set(one.id, one)
    this.#noted.set(one.id, now)
    if (this.#noted.size < MAX_NOTED) return
    // What has to be noted anew if it is used again need not be remembered.
    for (const [id, at] of this.#noted) if (now - at > NOTE_EVERY_MS) this.#noted.delete(id)
  }

  /** Classes known so far that a worker with this filter serves. */
  served({ definitionHashes, tags }: WorkerFilter): TaskClass[] {
    const filter = {
      ...(definitionHashes === undefined ? undefined : { definitionHashes }),
      ...(tags === undefined ? undefined : { tags }),
    }
    return [...this.#known.values()].filter((one) => isServed(filter, one.definitionHash, one.tags))
  }

  /** Reads which classes there are; half a read unit for about 25 of them. */
  async refresh(): Promise<void> {
    const seen = new Set<string>()
    for (const item of await this.#read()) {
      const one = fromItem(item)
      seen.add(one.id)
      if (!this.#known.has(one.id)) this.#known.set(one.id, one)
    }
    for (const id of this.#known.keys()) {
      // What this process has just written may not be there yet.
      if (!seen.has(id) && !this.#noted.has(id)) this.#known.delete(id)
    }
  }

  /** Every class. */
  async all(): Promise<TaskClass[]> {
    return (await this.#read()).map(fromItem)
  }

  /** Forgets classes that have long been out of use: `isEmpty` tells whether one has no tasks. */
  async forget(isEmpty: (one: TaskClass) => Promise<boolean>): Promise<void> {
    const now = this.#service.clock.now()
    for (const item of await this.#read()) {
      const noted = item.u ?? { N: '0' }
      const one = fromItem(item)
      if (now - Number(noted.N) < FORGET_AFTER_MS || !(await isEmpty(one))) continue
      // Whoever uses it notes it within the hour, which refuses this.
      const key = { p: this.#keys.classes, s: one.id }
      await this.#service.deleteIf(key, { attribute: 'u', is: noted })
    }
  }

  #read(): Promise<Attributes[]> {
    return this.#service.queryAll(this.#keys.classes, '', { consistent: false })
  }
}

function fromItem({ s, d, n, t }: Attributes): TaskClass {
  return {
    id: s?.S ?? '',
    definitionHash: d?.S ?? '',
    priority: Number(n?.N),
    tags: t?.S === undefined ? [] : (JSON.parse(t.S) as string[]),
  }
}
