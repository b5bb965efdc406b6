import type { CommitRecord } from '@sayiir/persistence-core/adapter'
import type { Bodies } from './bodies.ts'
import type { Attributes } from './expressions.ts'
import {
  readRecord,
  readResult,
  type State,
  type TailEntry,
  type TailResult,
  writeRecord,
} from './instance-item.ts'
import type { ItemKey, Keys } from './keys.ts'
import type { Service } from './service.ts'

/** Bytes of an output that an item of a result has itself: it is written once, so this may be much. */
const INLINE_BYTES: number = 256 * 1024

/**
 * Results and commit records of tasks. The newest stand in the instance's own item, its tail, so
 * that a commit is one write; a later write moves them to items of their own first. Only what has
 * been committed is moved, and only forward, so a move may be repeated, by anyone.
 */
export class Results {
  readonly #service: Service
  readonly #keys: Keys
  readonly #bodies: Bodies

  constructor(service: Service, keys: Keys, bodies: Bodies) {
    this.#service = service
    this.#keys = keys
    this.#bodies = bodies
  }

  /** Copies a tail that is stored to items of their own. */
  async move(instanceId: string, epoch: string, tail: readonly TailEntry[]): Promise<void> {
    await Promise.all(
      mergeTail(tail).map(async ({ taskId, version, result, record }) => {
        const { old } = await this.#service.updateIf(
          this.#key(instanceId, epoch, taskId),
          {
            set: {
              q: { N: String(version) },
              ...(result == null ? undefined : attributesOf(result)),
              ...(record == null ? undefined : { m: { S: writeRecord(record) } }),
            },
            remove: [
              ...(result === undefined
                ? []
                : result === null
                  ? ['n', 'o', 'ob']
                  : [result.output instanceof Uint8Array ? 'ob' : 'o']),
              ...(record === null ? ['m'] : []),
            ],
          },
          {
            expression: 'attribute_not_exists(q) OR q < :q',
          },
          { old: true },
        )
        const replaced = old?.ob?.S
        const isStillThere =
          result != null &&
          !(result.output instanceof Uint8Array) &&
          result.output.reference === replaced
        if (result !== undefined && replaced !== undefined && !isStillThere)
          await this.#service.deleteAll(this.#bodies.itemsOf(instanceId, replaced))
      }),
    )
  }

  /** Writes results of a set that nothing refers to yet. */
  async putAll(
    instanceId: string,
    { life, epoch }: Pick<State, 'life' | 'epoch'>,
    entries: readonly TailEntry[],
  ): Promise<void> {
    const waiting = [...entries]
    const work = async (): Promise<void> => {
      for (let entry = waiting.pop(); entry !== undefined; entry = waiting.pop()) {
        const { taskId, version, result, record } = entry
        const placed = result == null ? null : await this.#place(instanceId, life, result)
        await this.#service.put(this.#key(instanceId, epoch, taskId), {
          q: { N: String(version) },
          ...(placed === null ? undefined : attributesOf(placed)),
          ...(record == null ? undefined : { m: { S: writeRecord(record) } }),
        })
      }
    }
    await Promise.all(Array.from({ length: 16 }, work))
  }

  /** All results that have items of their own, by task. */
  async readAll(
    instanceId: string,
    epoch: string,
  ): Promise<Map<string, { readonly version: number; readonly result: TailResult | null }>> {
    const prefix = `T#${epoch}#`
    const items = await this.#service.queryAll(this.#keys.instance(instanceId), prefix)
    return new Map(
      items.map((item) => [
        (item.s?.S ?? '').slice(prefix.length),
        { version: Number(item.q?.N), result: readResult(item) },
      ]),
    )
  }

  /** Results of some tasks that have items of their own. */
  async read(
    instanceId: string,
    epoch: string,
    taskIds: readonly string[],
  ): Promise<Map<string, TailResult>> {
    const keys = [...new Set(taskIds)].map((taskId) => this.#key(instanceId, epoch, taskId))
    const results = new Map<string, TailResult>()
    for (const item of await this.#service.getMany(keys, { consistent: true })) {
      const result = readResult(item)
      if (result !== null) results.set((item.s?.S ?? '').slice(epoch.length + 3), result)
    }
    return results
  }

  /** The commit record that a task's own item has. */
  async readRecord(
    instanceId: string,
    epoch: string,
    taskId: string,
  ): Promise<CommitRecord | null> {
    const item = await this.#service.get(this.#key(instanceId, epoch, taskId))
    return item?.m?.S === undefined ? null : readRecord(item.m.S)
  }

  /** The bytes of an output. Null: its body is gone. */
  async output(instanceId: string, { output }: TailResult): Promise<Uint8Array | null> {
    return output instanceof Uint8Array ? output : this.#bodies.get(instanceId, output.reference)
  }

  /** All commit records that have items of their own. */
  async readRecords(instanceId: string, epoch: string): Promise<TailEntry[]> {
    const prefix = `T#${epoch}#`
    const items = await this.#service.queryAll(this.#keys.instance(instanceId), prefix)
    return items.flatMap(({ s, q, m }) =>
      m?.S === undefined
        ? []
        : [
            {
              taskId: (s?.S ?? '').slice(prefix.length),
              version: Number(q?.N),
              record: readRecord(m.S),
            },
          ],
    )
  }

  /** Deletes a set of results that nothing refers to any more, and bodies of its tail. */
  async drop(instanceId: string, epoch: string, tail: readonly TailEntry[]): Promise<void> {
    const p = this.#keys.instance(instanceId)
    const items = await this.#service.queryAll(p, `T#${epoch}#`)
    const references = [
      ...items.map(({ ob }) => ob?.S),
      ...tail.map(({ result }) => referenceOf(result ?? null)),
    ].filter((reference) => reference !== undefined)
    await this.#service.deleteAll([
      ...items.map(({ s }) => ({ p, s: s?.S ?? '' })),
      ...references.flatMap((reference) => this.#bodies.itemsOf(instanceId, reference)),
    ])
  }

  async #place(instanceId: string, life: string, result: TailResult): Promise<TailResult> {
    const { output } = result
    if (!(output instanceof Uint8Array) || output.byteLength <= INLINE_BYTES) return result
    return { ...result, output: { reference: await this.#bodies.put(instanceId, life, output) } }
  }

  #key(instanceId: string, epoch: string, taskId: string): ItemKey {
    return { p: this.#keys.instance(instanceId), s: `T#${epoch}#${taskId}` }
  }
}

/** The body that an output is in. */
export function referenceOf(result: TailResult | null): string | undefined {
  return result === null || result.output instanceof Uint8Array
    ? undefined
    : result.output.reference
}

/** One entry a task: what came later replaces what was before. */
export function mergeTail(tail: readonly TailEntry[]): TailEntry[] {
  const merged = new Map<string, TailEntry>()
  for (const entry of tail) {
    const before = merged.get(entry.taskId)
    merged.delete(entry.taskId)
    merged.set(entry.taskId, before === undefined ? entry : { ...before, ...entry })
  }
  return [...merged.values()]
}

function attributesOf({ order, output }: TailResult): Attributes {
  return {
    n: { N: String(order) },
    ...(output instanceof Uint8Array ? { o: { B: output } } : { ob: { S: output.reference } }),
  }
}
