import { expect } from 'vitest'
import { checkSnapshot } from '../src/check-snapshot.ts'
import { decodeSnapshot, encodeSnapshot } from '../src/envelope.ts'
import { BackendError } from '../src/errors.ts'
import type { WorkflowSnapshot } from '../src/snapshot.ts'
import { ordered } from './ordered.ts'

const encoder = new TextEncoder()
export const HEADER: readonly number[] = [0x53, 0x59, 0x52, 0x53, 1, 1]
/** The envelope of a JSON text. */
export const envelope = (json: string): Uint8Array =>
  Uint8Array.from([...HEADER, ...encoder.encode(json)])

/** What is read, or undefined where it is refused; fails on any other error. */
export function read(bytes: Uint8Array): WorkflowSnapshot | undefined {
  try {
    return decodeSnapshot(bytes)
  } catch (error) {
    expect(BackendError.is(error, 'SERIALIZATION'), String(error)).toBe(true)
    return undefined
  }
}

/** Reads, and holds what is read to be as good as any snapshot. */
export function readWell(bytes: Uint8Array): void {
  const snapshot = read(bytes)
  if (snapshot === undefined) return
  checkSnapshot(snapshot, Number.POSITIVE_INFINITY)
  expect(ordered(decodeSnapshot(encodeSnapshot(snapshot)))).toStrictEqual(ordered(snapshot))
}

/** Holds the bytes to be refused, with a message that has this in it. */
export function refuses(bytes: Uint8Array, message: string): void {
  expect(() => decodeSnapshot(bytes)).toThrow(
    expect.objectContaining({
      code: 'SERIALIZATION',
      message: expect.stringContaining(message),
    }),
  )
}

/** Fields of a JSON object as text, any of which a case replaces. */
export const whole: Record<string, string> = {
  instance_id: '"i"',
  definition_hash: '"d"',
  state: '{"Failed":{"error":"e"}}',
  created_at: '1',
  updated_at: '2',
}
export const text = (fields: Record<string, string>): string =>
  `{${Object.entries(fields).map(([name, value]) => `"${name}":${value}`)}}`
export const withFields = (fields: Record<string, string>): Uint8Array =>
  envelope(text({ ...whole, ...fields }))
