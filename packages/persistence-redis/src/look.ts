import type { TaskWakeup, WorkerFilter } from '@sayiir/persistence-core'
import type { Argument } from './connection.ts'
import type { StoreContext } from './context.ts'
import { toTexts } from './found-tasks.ts'
import type { Shard } from './layout.ts'
import { splitKey } from './records.ts'
import { pushFilter } from './write-args.ts'

/** What a look at a shard tells. */
export interface Look {
  readonly now: number
  readonly due: readonly string[]
  /** The best task that is available, or null. */
  readonly task: Required<TaskWakeup> | null
  /** Whether there is nothing but what the worker failed itself. */
  readonly isOwnFailure: boolean
  /** Where there is none: when there may be one, as far as is known; epoch milliseconds. */
  readonly nextAt: number | null
}

/** Looks whether a shard has work for a worker, without taking it. */
export async function look(
  { connection, clock, options }: StoreContext,
  shard: Shard,
  filter: WorkerFilter,
  workerId: string | null,
): Promise<Look> {
  const args: Argument[] = ['', '', options.agingIntervalMs, workerId ?? '']
  pushFilter(args, filter)
  const [time, due, key, detail, isOwn] = (await connection.run('look', shard.keys, args)) as [
    Buffer,
    Buffer[],
    Buffer,
    Buffer,
    number?,
  ]
  const now = Number(time.toString())
  clock.observe(now)
  const isFound = key.length > 0
  return {
    now,
    due: toTexts(due),
    task: isFound ? { ...splitKey(key.toString()), definitionHash: detail.toString() } : null,
    isOwnFailure: isOwn === 1,
    nextAt: isFound || detail.length === 0 ? null : Number(detail.toString()),
  }
}
