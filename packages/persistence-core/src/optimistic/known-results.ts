import { copyResult } from '../check-snapshot.ts'
import type { TaskResult } from '../position.ts'
import type { StoredInstance } from './store.ts'

/** The results that an instance had at a revision, as they were loaded or saved here. */
interface ResultList {
  readonly generation: string
  /** Moves on when the list is saved with more at its end. */
  revision: number
  readonly taskIds: string[]
}

interface Place {
  readonly list: ResultList
  readonly index: number
}

/** What of a snapshot's results has to be written. */
export interface ResultChanges {
  readonly removed: readonly string[] | 'all'
  readonly put: readonly TaskResult[]
}

/**
 * The results that this backend made itself, when it loaded or saved a snapshot, and where they
 * are stored: saving them again needs neither to send nor to read what is stored (rule S6). They
 * are recognised by identity. The backend's results are readonly, so one that it made still is
 * what it was.
 */
export class KnownResults {
  readonly #places = new WeakMap<TaskResult, Place>()
  /** Our copies of callers' own objects, which they may save again. */
  readonly #copies = new WeakMap<TaskResult, TaskResult>()

  /** A caller's result: our own object where it is one or equals one, else a copy. */
  take(result: TaskResult, name: string, maxPayloadBytes: number): TaskResult {
    if (this.#places.has(result)) return result
    const known = this.#copies.get(result)
    if (
      known !== undefined &&
      known.taskId === result.taskId &&
      Buffer.compare(known.output, result.output) === 0
    ) {
      return known
    }
    const copy = copyResult(result, name, maxPayloadBytes)
    this.#copies.set(result, copy)
    return copy
  }

  /** What has to be written so that `incoming` is stored, in this order, where `before` is. */
  plan(before: StoredInstance | null, incoming: readonly TaskResult[]): ResultChanges {
    if (before === null) return { removed: [], put: incoming }
    const list = this.#listAt(before, incoming)
    if (list === null) return { removed: 'all', put: incoming }
    let kept = 0
    let last = -1
    for (const result of incoming) {
      const place = this.#places.get(result)
      if (place?.list !== list || place.index <= last) break
      last = place.index
      kept += 1
    }
    if (kept === list.taskIds.length) return { removed: [], put: incoming.slice(kept) }
    const wanted = new Set(incoming.map(({ taskId }) => taskId))
    return {
      removed: list.taskIds.filter((taskId) => !wanted.has(taskId)),
      put: incoming.slice(kept),
    }
  }

  /** The list that the stored results are known to be, of the first of these that is known. */
  #listAt(before: StoredInstance, incoming: readonly TaskResult[]): ResultList | null {
    for (const result of incoming) {
      const list = this.#places.get(result)?.list
      if (list === undefined) continue
      const isCurrent =
        list.generation === before.generation && list.revision === before.head.revision
      return isCurrent ? list : null
    }
    return null
  }

  /** Remembers that these are all the results that `stored` has, in order. */
  remember(stored: StoredInstance, results: Iterable<TaskResult>): void {
    const all = Array.from(results)
    if (all.length === 0) return
    const { revision } = stored.head
    const list = this.#places.get(all[0] as TaskResult)?.list
    const isLonger =
      list !== undefined &&
      list.generation === stored.generation &&
      list.revision <= revision &&
      list.taskIds.length <= all.length &&
      list.taskIds.every((_, index) => {
        const place = this.#places.get(all[index] as TaskResult)
        return place?.list === list && place.index === index
      })
    const current: ResultList = isLonger
      ? list
      : { generation: stored.generation, revision, taskIds: [] }
    current.revision = revision
    for (const result of all.slice(current.taskIds.length)) {
      this.#places.set(result, { list: current, index: current.taskIds.length })
      current.taskIds.push(result.taskId)
    }
  }
}
