import type { DispatchEntry } from './dispatch.ts'
import { decodeSnapshot, encodeSnapshot } from './envelope.ts'
import { BackendError, isUnreadable, quote } from './errors.ts'
import type { InstanceRecord } from './instance.ts'
import type { Versioned } from './instance-store.ts'

const VERSION = 1
const HEADER_BYTES = 4

/** Everything beside the snapshot, as JSON. */
interface Sidecar {
  readonly v: number
  readonly entries: readonly DispatchEntry[]
  readonly cancel: InstanceRecord['cancel']
  readonly pause: InstanceRecord['pause']
  readonly events: readonly { readonly signalName: string; readonly payload: string }[]
  readonly eventIds: readonly (readonly [string, readonly string[]])[]
  readonly commits: readonly (readonly [
    string,
    InstanceRecord['commits'] extends ReadonlyMap<string, infer C> ? C : never,
  ])[]
}

/**
 * A record as bytes: the length of a JSON part (four bytes, big-endian), that part, and the
 * snapshot's envelope.
 */
export function encodeInstance(record: InstanceRecord): Uint8Array {
  const sidecar: Sidecar = {
    v: VERSION,
    entries: record.entries,
    cancel: record.cancel,
    pause: record.pause,
    events: record.events.map(({ signalName, payload }) => ({
      signalName,
      payload: Buffer.from(payload).toString('base64'),
    })),
    eventIds: [...record.eventIds],
    commits: [...record.commits],
  }
  const json = new TextEncoder().encode(JSON.stringify(sidecar))
  const envelope = encodeSnapshot(record.snapshot)
  const bytes = new Uint8Array(HEADER_BYTES + json.length + envelope.length)
  new DataView(bytes.buffer).setUint32(0, json.length)
  bytes.set(json, HEADER_BYTES)
  bytes.set(envelope, HEADER_BYTES + json.length)
  return bytes
}

/**
 * What a store has of an instance, whose record is read once it is asked for: so bytes that can not be
 * read hold up no other instance, and can be deleted.
 *
 * @param version What the store compares; by default the bytes.
 */
export function storedInstance(
  instanceId: string,
  bytes: Uint8Array,
  version: unknown = bytes,
): Versioned {
  let record: InstanceRecord | null = null
  return {
    instanceId,
    version,
    get record() {
      record ??= readInstance(instanceId, bytes)
      return record
    },
  }
}

function readInstance(instanceId: string, bytes: Uint8Array): InstanceRecord {
  try {
    const record = decodeInstance(bytes)
    if (record.snapshot.instanceId === instanceId) return record
    throw new BackendError('SERIALIZATION', 'it is of another instance')
  } catch (error) {
    if (!isUnreadable(error)) throw error
    const message = `what is stored of instance ${quote(instanceId)} can not be read: ${error.message}`
    throw new BackendError(error.code, message, { instanceId, cause: error })
  }
}

/**
 * The record of these bytes.
 *
 * @throws `SERIALIZATION`; `SCHEMA` if a newer version wrote them.
 */
export function decodeInstance(bytes: Uint8Array): InstanceRecord {
  try {
    const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0)
    const end = HEADER_BYTES + length
    const json = new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(HEADER_BYTES, end))
    const sidecar = JSON.parse(json) as Sidecar
    if (sidecar.v !== VERSION) {
      throw new BackendError(
        'SCHEMA',
        `an instance was written by version ${sidecar.v}; upgrade to read it`,
      )
    }
    return {
      snapshot: decodeSnapshot(bytes.subarray(end)),
      entries: sidecar.entries.map(checkEntry),
      cancel: sidecar.cancel ?? null,
      pause: sidecar.pause ?? null,
      events: sidecar.events.map(({ signalName, payload }) => ({
        signalName,
        payload: new Uint8Array(Buffer.from(payload, 'base64')),
      })),
      eventIds: new Map(sidecar.eventIds),
      commits: new Map(sidecar.commits),
    }
  } catch (error) {
    if (BackendError.is(error)) throw error
    throw new BackendError('SERIALIZATION', 'a stored instance can not be read', { cause: error })
  }
}

/** What dispatch compares and counts with must be what it says: everybody's, not only who asks for this one. */
function checkEntry(entry: DispatchEntry): DispatchEntry {
  const { taskId, tags, claim } = entry
  const numbers = [entry.priority, entry.availableSince, entry.deliveries, entry.attempt]
  const isEntry =
    typeof taskId === 'string' &&
    Array.isArray(tags) &&
    numbers.every(Number.isFinite) &&
    (claim === null || Number.isFinite(claim.token))
  if (!isEntry) throw new TypeError('a dispatch entry is incomplete')
  return entry
}
