import type { WorkerFilter } from '@sayiir/persistence-core'

/** A worker's filter as JSON; an empty text: it takes all. */
export function filterText({ definitionHashes, tags }: WorkerFilter): string {
  if (definitionHashes === undefined && tags === undefined) return ''
  return JSON.stringify({ d: definitionHashes, t: tags })
}
