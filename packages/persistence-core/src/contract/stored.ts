import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { AnySnapshot, WorkflowSnapshot } from '../snapshot.ts'
import { completeTask } from '../transitions.ts'
import { bytes, text } from './context.ts'

/**
 * A value with its maps as lists of entries and its bytes as text, so that a comparison sees the
 * order of every map and says briefly which bytes differ.
 */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) {
    const { buffer, byteOffset, byteLength } = value
    return `${byteLength} bytes: ${Buffer.from(buffer, byteOffset, byteLength).toString('base64')}`
  }
  if (value instanceof Map) return { map: Array.from(value, plain) }
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, plain(field)]))
}

/** What a save takes from the caller: all but the revision and the store's own times. */
export function contentOf(snapshot: AnySnapshot): unknown {
  const { revision: _, createdAt: __, updatedAt: ___, ...content } = snapshot
  return plain(content)
}

/** Saves, and proves that the content comes back from the save and from a load (rule S1). */
export async function roundTrip(
  backend: PersistentBackend,
  snapshot: WorkflowSnapshot,
): Promise<WorkflowSnapshot> {
  const content = contentOf(snapshot)
  const saved = await backend.saveSnapshot(snapshot)
  expect(contentOf(saved)).toEqual(content)
  const loaded = await backend.loadSnapshot(snapshot.instanceId)
  expect(plain(loaded)).toEqual(plain(saved))
  return loaded
}

/** Proves that nothing has changed since `before` was loaded. */
export async function unchanged(
  backend: PersistentBackend,
  before: WorkflowSnapshot,
): Promise<void> {
  expect(plain(await backend.loadSnapshot(before.instanceId))).toEqual(plain(before))
}

/** Writes into everything that can be written to: what a store handed out or took must not be its own. */
export function scribble(value: unknown): void {
  if (value instanceof Uint8Array) {
    value.fill(0xee)
  } else if (value instanceof Map) {
    for (const entry of value.values()) scribble(entry)
    value.clear()
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, field] of Object.entries(value)) {
      scribble(field)
      // Not an assignment: a frozen object may refuse.
      if (typeof field !== 'object') Reflect.set(value, key, 'scribbled')
    }
    if (Array.isArray(value)) Reflect.set(value, 'length', 0)
  }
}

/** The snapshot with a result of its own: one among many that can be told apart. */
export function marked(snapshot: WorkflowSnapshot, mark: string): WorkflowSnapshot {
  return completeTask(snapshot, 'mark', bytes(mark))
}

/** The mark that is stored. */
export async function markOf(
  backend: PersistentBackend,
  instanceId: string,
): Promise<string | null> {
  return text(await backend.loadTaskResult(instanceId, 'mark'))
}

/** `count` bytes, each of them `byte`. */
export function filled(count: number, byte: number): Uint8Array {
  return new Uint8Array(count).fill(byte)
}

/** The ids in ascending order of their UTF-8 bytes. */
export function byUtf8(ids: Iterable<string>): string[] {
  return [...ids].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}

/** Ids that break object keys, patterns, paths, delimiters, folding or the order of UTF-16. */
export const AWKWARD_IDS: readonly string[] = [
  ...['__proto__', 'constructor', 'toString', 'null', '10', '9', '0', '-1', '1e3'],
  ...[
    '%',
    '_',
    '%a',
    '_a',
    'a%',
    'a_',
    '*',
    'a*',
    '?',
    '[a]',
    'a\\',
    'a\\%',
    '{a}',
    '{}',
    '$a',
    '.',
  ],
  ...[
    'a',
    'A',
    'ab',
    'a:b',
    'a::b',
    'a/b',
    'a.b',
    'a|b',
    'a#b',
    'a,b',
    'a b',
    'a ',
    ' a',
    'a\tb',
    'a\n',
  ],
  ...["a'b", "a''b", 'a"b', 'a`b', "'; drop table x; --", 'a\u0001', 'a\u007f', '\u00a0'],
  // One letter in two forms, and letters that fold together.
  ...['\u00e9', 'e\u0301', '\u00c9', '\u00df', 'ss', '\u0130', 'i', '\u212a', 'k'],
  // UTF-8 orders the last after the first three, UTF-16 before them.
  ...['\ud7ff', '\ue000', '\uffff', '\u{10000}', '\u{1f600}', '\u{10ffff}', '\u{10ffff}a'],
  ...['x'.repeat(256), `${'x'.repeat(255)}y`, '\u{1f600}'.repeat(64)],
]
