import { encodeHead, type StoredInstance } from '@sayiir/persistence-core/adapter'

/** The head's text. */
export function encodeStored({ head }: StoredInstance): string {
  return encodeHead(head)
}

/** Pending control signals as JSON, or an empty text. */
export function signalsOf({ cancel, pause }: StoredInstance): string {
  return cancel === null && pause === null ? '' : JSON.stringify({ cancel, pause })
}

/** The final output of a completed instance. */
export function finalOutputOf({ head: { state } }: StoredInstance): Uint8Array | null {
  return state.status === 'completed' ? state.finalOutput : null
}
