import { readSnapshot } from './envelope-reader.ts'
import { writeSnapshot } from './envelope-writer.ts'
import { BackendError } from './errors.ts'
import { parseJson } from './json.ts'
import type { WorkflowSnapshot } from './snapshot.ts'

/** `SYRS`, format version 1, codec 1 (JSON). */
const HEADER: Uint8Array = Uint8Array.of(0x53, 0x59, 0x52, 0x53, 0x01, 0x01)

/**
 * A snapshot as Sayiir's own envelope: `SYRS`, a version, a codec, then compact JSON, so that an
 * instance can move between the Rust engine and this. What the Rust engine does not know (the
 * revision, milliseconds, a fork's pending tasks and join, the results of an instance that has
 * completed or failed) travels in fields that its reader ignores.
 *
 * @throws `SERIALIZATION` for what the form can not hold, such as an instant after the year 9999.
 *
 * @example
 * ```ts
 * import { decodeSnapshot, encodeSnapshot, type PersistentBackend } from '@sayiir/persistence-core'
 *
 * async function move(instanceId: string, from: PersistentBackend, to: PersistentBackend): Promise<void> {
 *   const bytes = encodeSnapshot(await from.loadSnapshot(instanceId))
 *   await to.saveSnapshot(decodeSnapshot(bytes), { expectedRevision: 0 })
 * }
 * ```
 */
export function encodeSnapshot(snapshot: WorkflowSnapshot): Uint8Array {
  return serializing('written', () => writeSnapshot(snapshot, HEADER))
}

/**
 * The snapshot in an envelope that {@link encodeSnapshot} or the Rust engine wrote. What it returns
 * is a valid snapshot, which every backend takes; unknown fields are ignored, missing ones that only
 * {@link encodeSnapshot} writes get their defaults, and of nanoseconds the milliseconds are kept.
 *
 * @throws `SERIALIZATION`, naming the place, for anything else; never another error.
 */
export function decodeSnapshot(bytes: Uint8Array): WorkflowSnapshot {
  return serializing('read', () => {
    for (const [index, byte] of HEADER.entries()) {
      if (bytes[index] !== byte) throw new TypeError(headerFault(bytes, index))
    }
    return readSnapshot(parseJson(bytes.subarray(HEADER.length)))
  })
}

function headerFault(bytes: Uint8Array, index: number): string {
  if (bytes.length <= index) return `it ends after ${bytes.length} bytes, before its JSON`
  if (index < 4) return "it does not start with 'SYRS', so it is not an envelope of Sayiir's"
  return `its ${index === 4 ? 'format version' : 'codec'} is ${bytes[index]}, and only 1 is known`
}

/** Whatever is wrong with a snapshot is the stored form's fault here, not an argument's. */
function serializing<T>(verb: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    const { message } = error as Error
    throw new BackendError('SERIALIZATION', `the snapshot can not be ${verb}: ${message}`, {
      cause: error,
    })
  }
}
