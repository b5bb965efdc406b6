import { isEnded } from '../snapshot.ts'
import { branchResults } from './branches.ts'
import type { StoredInstance } from './store.ts'

/** Bytes that are kept at most, roughly. */
const MAX_BYTES: number = 32 * 1024 * 1024
/** The part that is kept when there are more. */
const KEPT = 7 / 8
/** What an instance takes beside its payloads, roughly. */
const BASE_BYTES = 2048

/**
 * Instances as they were when they were last read or written here, those that came last. A guess,
 * by which a change can be worked out without reading first; the compare-and-set tells whether it
 * was right.
 */
export class InstanceCache {
  readonly #instances = new Map<string, Kept>()
  #bytes = 0

  get(instanceId: string): StoredInstance | null {
    return this.#instances.get(instanceId)?.stored ?? null
  }

  /** Remembers an instance, unless a newer one is known. */
  set(stored: StoredInstance): void {
    const { instanceId } = stored.head
    const known = this.#instances.get(instanceId)
    const old = known?.stored
    if (old?.generation === stored.generation && old.version > stored.version) return
    const bytes = sizeOf(stored)
    // Nothing changes one that has ended, and claims of it there are none.
    if (isEnded(stored.head.state.status) || bytes > MAX_BYTES / 8) {
      this.delete(instanceId)
      return
    }
    if (known === undefined) this.#instances.set(instanceId, { stored, bytes })
    else {
      this.#bytes -= known.bytes
      known.stored = stored
      known.bytes = bytes
    }
    this.#bytes += bytes
    if (this.#bytes <= MAX_BYTES) return
    // Many at a time: a walk of the map passes all that was deleted before.
    for (const oldest of this.#instances.keys()) {
      if (this.#bytes <= MAX_BYTES * KEPT) break
      this.delete(oldest)
    }
  }

  delete(instanceId: string): void {
    const known = this.#instances.get(instanceId)
    if (known === undefined) return
    this.#instances.delete(instanceId)
    this.#bytes -= known.bytes
    known.stored = null
  }
}

/**
 * Emptied when it is forgotten: a map that entries come to and go from leaves tables behind, each
 * with what was in it, which an engine that collects its garbage by generations keeps for long.
 */
interface Kept {
  stored: StoredInstance | null
  bytes: number
}

function sizeOf({ head, entries }: StoredInstance): number {
  let bytes = BASE_BYTES + (head.initialInput?.byteLength ?? 0) + entries.length * 256
  if (head.retries.size > 0)
    for (const { lastError } of head.retries.values()) bytes += lastError.length
  for (const { output } of branchResults(head)) bytes += output.byteLength
  return bytes
}
