import { isEnded } from '@sayiir/persistence-core/adapter'
import { nameOf, type Written } from './bodies.ts'
import type { Known, Parts } from './instance-store.ts'
import { referenceOf } from './results.ts'
import { referencesOf } from './state-codec.ts'

/** What nothing refers to any more once an instance's item was written, or was not: it is cleared away afterwards. */
export class Leftovers {
  readonly #parts: Parts
  readonly #later: (work: () => Promise<unknown>) => void

  /** @param later Does something that nobody waits for. */
  constructor(parts: Parts, later: (work: () => Promise<unknown>) => void) {
    this.#parts = parts
    this.#later = later
  }

  /** What the write before referred to, and this one does not. */
  replaced(after: Known, before: Known | null, written: readonly Written[]): void {
    const { bodies, markers, service, keys } = this.#parts
    const { instanceId } = after.item
    const obsolete = before === null ? [] : obsoleteBodies(before, after)
    const gone = [...(before?.state.markers.keys() ?? [])].filter(
      (classId) => !after.state.markers.has(classId),
    )
    const endsWithEvents = after.state.hasEvents && isEnded(after.item.status)
    if (obsolete.length + written.length + gone.length === 0 && !endsWithEvents) return
    this.#later(async () => {
      await Promise.all([
        service
          .deleteAll(obsolete.flatMap((reference) => bodies.itemsOf(instanceId, reference)))
          .then(() => bodies.settle(instanceId, written)),
        markers.remove(after.item, gone),
      ])
      if (endsWithEvents) {
        const p = keys.instance(instanceId)
        const prefixes = [`E#${after.state.life}#`, `N#${after.state.life}#`]
        for (const prefix of prefixes) {
          const items = await service.queryAll(p, prefix)
          const payloads = items.flatMap(({ ob }) =>
            ob?.S === undefined ? [] : bodies.itemsOf(instanceId, ob.S),
          )
          await service.deleteAll([...items.map(({ s }) => ({ p, s: s?.S ?? '' })), ...payloads])
        }
      }
    })
  }

  /** What a write that was refused would have referred to. */
  refused(instanceId: string, written: readonly Written[]): void {
    if (written.length > 0) this.#later(() => this.#discard(instanceId, written))
  }

  async #discard(instanceId: string, written: readonly Written[]): Promise<void> {
    const { bodies, service } = this.#parts
    await service.deleteAll(
      written.flatMap(({ reference }) => bodies.itemsOf(instanceId, reference)),
    )
    await bodies.settle(instanceId, written)
  }
}

/** Bodies that only the older of two states of an instance refers to. */
function obsoleteBodies(before: Known, after: Known): string[] {
  const kept = new Set([
    ...referencesOf(after.item.attributes),
    ...after.state.tail.map(({ result }) => referenceOf(result ?? null)),
  ])
  const tailOf = new Map(after.state.tail.map(({ taskId, result }) => [taskId, result]))
  // An output in the tail that was not replaced there has been moved on.
  const replaced = before.state.tail.flatMap(({ taskId, result }) => {
    const reference = referenceOf(result ?? null)
    return reference !== undefined && tailOf.get(taskId) !== undefined ? [reference] : []
  })
  return [...referencesOf(before.item.attributes), ...replaced].filter(
    (reference) => !kept.has(reference) && nameOf(reference) !== '',
  )
}
