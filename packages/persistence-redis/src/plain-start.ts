import type { InstanceWrite, WriteResult } from '@sayiir/persistence-core/adapter'
import { latin1Of, type Message } from './argument-writer.ts'
import { classOf, placeOf } from './places.ts'
import { ALONE, recordText } from './records.ts'

/** Bytes of an initial input up to which an instance is started by `scripts/start.lua`. */
const INPUT_BYTES = 4096
const WRITTEN = '1'

/** What `scripts/start.lua` is given after the call's number. */
interface Start {
  readonly args: readonly string[]
  readonly message: Message | null
}

/** How to start an instance that comes alone; null: as several are. */
export function startArguments(write: InstanceWrite): Start | null {
  const { instanceId, after, at, toleranceMs } = write
  const { definitionHash, initialInput } = after.head
  const entry = after.entries[0]
  if (entry === undefined) return null
  if (initialInput !== null && initialInput.byteLength > INPUT_BYTES) return null
  return {
    args: [
      instanceId,
      recordText(after, ALONE),
      `${placeOf(entry, definitionHash)}${instanceId}\0${entry.taskId}`,
      classOf(entry, definitionHash),
      `${at - toleranceMs}`,
      `${at + toleranceMs}`,
    ],
    message: initialInput === null ? null : { bytes: latin1Of(initialInput), apart: [] },
  }
}

/** What it replies. */
export function readStart(reply: Buffer, observe: (now: number) => void): WriteResult {
  const text = reply.toString('latin1')
  const now = Number(text.slice(0, -1))
  observe(now)
  return text.endsWith(WRITTEN)
    ? { written: true, now, next: null, due: [] }
    : { written: false, now }
}
