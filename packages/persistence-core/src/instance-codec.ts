import type { DispatchEntry } from './dispatch.ts'
import { decodeSnapshot, encodeSnapshot } from './envelope.ts'
import { BackendError } from './errors.ts'
import type { InstanceRecord } from './instance.ts'

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
      entries: sidecar.entries,
      cancel: sidecar.cancel,
      pause: sidecar.pause,
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
