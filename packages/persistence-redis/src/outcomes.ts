import type { CommitRecord } from '@sayiir/persistence-core/adapter'
import { statusOf } from './statuses.ts'
import { unreadable } from './unreadable.ts'

/** A result and the last commit of its task, as they are stored together. */
export interface StoredOutcome {
  /** Null: there is no output. */
  readonly order: number | null
  readonly output: Uint8Array
  readonly commit: CommitRecord | null
}

/** The newest output with the task that it is of, or null. */
export function splitNewest(value: Buffer | null): { taskId: string; value: Buffer } | null {
  if (value === null) return null
  const end = value.indexOf(0)
  return { taskId: value.toString('utf8', 0, end), value: value.subarray(end + 1) }
}

/** See `scripts/results.lua`. */
export function decodeOutcome(instanceId: string, value: Buffer): StoredOutcome {
  let from = 0
  const field = (): string => {
    const end = value.indexOf(0, from)
    if (end < 0) throw unreadable(instanceId, new TypeError('a result is cut off'))
    const text = value.toString('utf8', from, end)
    from = end + 1
    return text
  }
  const order = field()
  const token = field()
  let commit: CommitRecord | null = null
  if (token !== '') {
    const workerId = field()
    const state = field()
    const sign = state.at(-1)
    commit = {
      workerId,
      token: Number(token),
      revision: Number(state.slice(0, -2)),
      status: statusOf(state.at(-2) ?? ''),
      next:
        sign === '-'
          ? null
          : {
              instanceId: sign === '+' ? field() : instanceId,
              taskId: field(),
              token: Number(field()),
            },
    }
  }
  return {
    order: order === '' ? null : Number(order),
    output: toBytes(value.subarray(from)),
    commit,
  }
}

/** Bytes of a reply as a caller gets them: on their own, not a view of what came over the wire. */
function toBytes(value: Buffer): Uint8Array {
  return new Uint8Array(value)
}

/** The same of what may be missing. */
export function toBytesOrNull(value: Buffer | null): Uint8Array | null {
  return value === null ? null : toBytes(value)
}
