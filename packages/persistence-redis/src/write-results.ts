import { BackendError } from '@sayiir/persistence-core'
import type { InstanceWrite, WriteResult } from '@sayiir/persistence-core/adapter'
import { madeClaim } from './claims.ts'
import { type MadeClaim, readClaimed, readTexts } from './found-tasks.ts'
import { MessageReader } from './message-reader.ts'
import { splitKey } from './records.ts'

const NONE: readonly never[] = []

/** What the scripts that write instances reply. */
export function readResults(
  [outcome, described, ...large]: readonly [Buffer, Buffer, ...Buffer[]],
  writes: readonly InstanceWrite[],
  observe: (now: number) => void,
): { readonly states: string; readonly results: WriteResult[] } {
  const rest = new MessageReader(described, large)
  rest.array()
  const now = rest.number()
  observe(now)
  const made = new MessageReader(outcome)
  made.array()
  const at = made.number()
  const states = made.text()
  const due = readTexts(rest)
  const next: (WriteNext | undefined)[] = []
  let left = made.array()
  for (let index = 0; left > 0; index += 1) {
    const { instanceId, claimNext } = writeAt(writes, index)
    if (states[index] !== '2' || claimNext === null) continue
    const claim = madeClaim(claimNext.request, at, made.number())
    next[index] = { instanceId, taskId: claimNext.own ?? '', claim, deliveries: made.number() }
    left -= 2
  }
  left = made.array()
  if (left > 0) {
    const others: MadeClaim[] = []
    const rows: number[] = []
    for (let index = 0; left > 0; index += 1) {
      const { claimNext } = writeAt(writes, index)
      if (states[index] !== '3' || claimNext === null) continue
      const { instanceId, taskId } = splitKey(made.text())
      const claim = madeClaim(claimNext.request, at, made.number())
      rows.push(index)
      others.push({ instanceId, taskId, claim, deliveries: made.number() })
      left -= 3
    }
    const tasks = readClaimed(rest, others)
    for (let number = 0; number < tasks.length; number += 1) {
      const task = tasks[number]
      // What was written is written, whether or not the task that it brought can be read.
      if (task != null && !BackendError.is(task)) next[rows[number] ?? 0] = task
    }
  }
  const results: WriteResult[] = []
  for (let index = 0; index < writes.length; index += 1) {
    const { claimNext } = writeAt(writes, index)
    const isWritten = states[index] !== '0' && states[index] !== '?'
    results.push(
      isWritten
        ? { written: true, now, next: next[index] ?? null, due: claimNext === null ? NONE : due }
        : { written: false, now },
    )
  }
  return { states, results }
}

type WriteNext = Extract<WriteResult, { written: true }>['next']

function writeAt(writes: readonly InstanceWrite[], index: number): InstanceWrite {
  const write = writes[index]
  if (write === undefined) throw new TypeError('a reply has other claims than were asked for')
  return write
}
