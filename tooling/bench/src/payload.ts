import { createHash } from 'node:crypto'
import { PAYLOAD_BYTES } from './sizes.ts'

/** Text that does not compress to nothing, as `x` repeated would. */
const NOISE = [0, 1, 2, 3, 4]
  .map((index) => createHash('sha256').update(`${index}`).digest('base64url'))
  .join('')

/** The input of a job: 200 bytes of JSON with the time when it was sent. */
export function payload(at: number): string {
  const text = JSON.stringify({ at, pad: '' })
  return JSON.stringify({ at, pad: NOISE.slice(0, PAYLOAD_BYTES - text.length) })
}

/** When a job was sent. */
export function sentAt(text: string): number {
  return (JSON.parse(text) as { at: number }).at
}

/** The output of a step: 200 bytes that tell whose they are. */
export function outputOf(instanceId: string, step: number): string {
  return `${instanceId}/${step}/${NOISE}`.slice(0, PAYLOAD_BYTES)
}
