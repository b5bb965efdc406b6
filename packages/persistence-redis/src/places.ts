import { createHash } from 'node:crypto'
import type { DispatchEntry } from '@sayiir/persistence-core/adapter'

/** Characters of a class in a place. */
export const CLASS_LENGTH = 12
/** Characters of a time in a place, in base 36. */
export const SINCE_LENGTH = 10
/** Characters of a place. */
export const PLACE_LENGTH: number = CLASS_LENGTH + SINCE_LENGTH
const KNOWN_CLASSES = 4096

/** What tells tasks apart that a worker may or may not take, or in another order. */
export function classOf(
  {
    priority,
    lastFailedWorker,
    tags,
  }: Pick<DispatchEntry, 'priority' | 'lastFailedWorker' | 'tags'>,
  definitionHash: string,
): string {
  const base = `${priority}\0${lastFailedWorker ?? ''}\0${definitionHash}`
  return tags.length === 0 ? base : `${base}\0${tags.toSorted().join('\0')}`
}

const digests = new Map<string, string>()
/** Of tasks without tags that nobody failed, by definition and priority. */
const plainDigests = new Map<string, string[]>()

/** A class as a few characters. */
function digestOf(entry: DispatchEntry, definitionHash: string): string {
  if (entry.tags.length > 0 || entry.lastFailedWorker !== null) {
    return digest(classOf(entry, definitionHash))
  }
  let known = plainDigests.get(definitionHash)
  if (known === undefined) {
    known = []
    if (plainDigests.size === KNOWN_CLASSES) plainDigests.clear()
    plainDigests.set(definitionHash, known)
  }
  known[entry.priority] ??= digest(classOf(entry, definitionHash))
  return known[entry.priority] as string
}

function digest(text: string): string {
  let known = digests.get(text)
  if (known === undefined) {
    known = createHash('sha256').update(text).digest('base64url').slice(0, CLASS_LENGTH)
    if (digests.size === KNOWN_CLASSES) digests.clear()
    digests.set(text, known)
  }
  return known
}

let lastSince = 0
let lastSinceText: string = '0'.repeat(SINCE_LENGTH)

/** A time in a place. Many tasks have the same, one after the other. */
function sinceText(since: number): string {
  if (since !== lastSince) {
    lastSince = since
    lastSinceText = since.toString(36).padStart(SINCE_LENGTH, '0')
  }
  return lastSinceText
}

/** A task's place in the queue: its class, then when it becomes available. */
export function placeOf(entry: DispatchEntry, definitionHash: string): string {
  return digestOf(entry, definitionHash) + sinceText(entry.availableSince)
}
