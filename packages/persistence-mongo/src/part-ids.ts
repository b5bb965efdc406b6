/**
 * Ids of what is apart from an instance's document. All begin with the generation, so that they are
 * one range of the index, of this life of the instance only. Generations have no colon; the task id
 * comes last, so it may be anything.
 */

/** A range of ids: `from` to before `to`. */
export interface IdRange {
  readonly from: string
  readonly to: string
}

function range(prefix: string): IdRange {
  // A semicolon is what comes after a colon.
  return { from: `${prefix}:`, to: `${prefix};` }
}

/** Everything of a generation. */
export function partsOf(generation: string): IdRange {
  return range(generation)
}

export function resultId(generation: string, set: number, taskId: string): string {
  return `${generation}:r:${set}:${taskId}`
}

/** The results of a set. */
export function resultsOf(generation: string, set: number): IdRange {
  return range(`${generation}:r:${set}`)
}

/** The task of a result. */
export function taskOf(id: string, generation: string, set: number): string {
  return id.slice(resultId(generation, set, '').length)
}

export function commitId(generation: string, taskId: string): string {
  return `${generation}:c:${taskId}`
}

export function chunkId(generation: string, blob: string, index: number): string {
  return `${generation}:b:${blob}:${index.toString().padStart(6, '0')}`
}

/** The chunks of a payload. */
export function chunksOf(generation: string, blob: string): IdRange {
  return range(`${generation}:b:${blob}`)
}
