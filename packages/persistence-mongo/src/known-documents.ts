import type { StoredInstance } from '@sayiir/persistence-core/adapter'
import type { InstanceDoc } from './records.ts'

/** Documents that are remembered at most: those that were claimed one by one, and not committed yet. */
const MAX_KNOWN = 256

/** What of a document follows from how it was when its task was claimed. */
export interface KnownDocument {
  readonly generation: string
  readonly version: number
  /** Its count of changes: as long as it has this one, all the rest is so. */
  readonly changes: number
  /** The ids of its last writes. */
  readonly writes: readonly string[]
  /** Tasks whose outputs and commits it has. */
  readonly outputs: readonly string[]
  readonly commits: readonly string[]
  /** The greatest token given. */
  readonly token: number
}

/**
 * Documents that this process has claimed a task of, one by one. A commit that knows what is there
 * says what it makes of it, instead of having the server work it out, and has one thing compared:
 * half of what such a commit costs more than an update of plain fields.
 */
export class KnownDocuments {
  readonly #known = new Map<string, KnownDocument>()

  /** Takes in a document, as it is after the claim of a task of it. */
  claimed({ _id, g, n, y, w, l, cm, tk }: InstanceDoc, taskId: string): void {
    this.set(_id, {
      generation: g,
      version: n,
      changes: y,
      writes: w,
      outputs: l.map(({ t }) => t),
      // The claim has forgotten what was remembered of its task.
      commits: cm.flatMap(({ t }) => (t === taskId ? [] : [t])),
      token: tk,
    })
  }

  set(instanceId: string, known: KnownDocument): void {
    this.#known.delete(instanceId)
    this.#known.set(instanceId, known)
    if (this.#known.size <= MAX_KNOWN) return
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest)
      break
    }
  }

  /** The document of an instance that is to be changed; null: it is not known, or it is another one by now. */
  get({ head, generation, version }: StoredInstance): KnownDocument | null {
    const known = this.#known.get(head.instanceId)
    return known?.generation === generation && known.version === version ? known : null
  }

  delete(instanceId: string): void {
    this.#known.delete(instanceId)
  }
}
