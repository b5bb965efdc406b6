import { BackendError } from '@sayiir/persistence-core'
import { CallFailure, type InstanceWrite, type WriteResult } from '@sayiir/persistence-core/adapter'
import { isLockTimeout } from './errors.ts'

/** What became of a write, or why it failed. */
export type Outcome = WriteResult | CallFailure

/** Sends writes together. */
export type Send = (writes: readonly InstanceWrite[]) => Promise<readonly WriteResult[]>

/**
 * In the order of their ids, so that two processes never wait for each other; an instance that is
 * there twice, one after the other.
 */
export async function sendInOrder(
  writes: readonly InstanceWrite[],
  send: Send,
): Promise<readonly Outcome[]> {
  if (isInOrder(writes)) return sendApart(writes, send)
  const outcomes: Outcome[] = []
  let left = writes.map((write, index) => ({ write, index }))
  left.sort(({ write: a }, { write: b }) => (a.instanceId < b.instanceId ? -1 : 1))
  while (left.length > 0) {
    const first: typeof left = []
    const again: typeof left = []
    for (const one of left) {
      const isAgain = first.at(-1)?.write.instanceId === one.write.instanceId
      ;(isAgain ? again : first).push(one)
    }
    const sent = await sendApart(
      first.map(({ write }) => write),
      send,
    )
    first.forEach(({ index: place }, index) => {
      outcomes[place] = sent[index] as Outcome
    })
    left = again
  }
  return outcomes
}

/** Whether each id comes after the one before it, as those do that are counted up or tell the time. */
function isInOrder(writes: readonly InstanceWrite[]): boolean {
  for (let index = 1; index < writes.length; index += 1) {
    const before = writes[index - 1] as InstanceWrite
    if (before.instanceId >= (writes[index] as InstanceWrite).instanceId) return false
  }
  return true
}

/**
 * What is wrong with one write does not fail the others; neither does a row that somebody keeps
 * locked for longer than the database's `lock_timeout`.
 */
async function sendApart(
  writes: readonly InstanceWrite[],
  send: Send,
): Promise<readonly Outcome[]> {
  try {
    return await send(writes)
  } catch (failure) {
    if (writes.length === 1) return [new CallFailure(failure)]
    if (BackendError.is(failure, 'UNAVAILABLE') && !isLockTimeout(failure)) throw failure
  }
  const outcomes: Outcome[] = []
  for (const write of writes) outcomes.push(...(await sendApart([write], send)))
  return outcomes
}
