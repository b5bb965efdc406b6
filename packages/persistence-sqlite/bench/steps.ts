import { createSnapshot, type TaskOutcome } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { BareQueue } from './bare.ts'
import { BareRows } from './bare-rows.ts'

/** How steps are worked off. */
export const MODES = [
  'bare',
  'bare, all rows',
  'one at a time',
  'claimNext',
  'batches of 50',
] as const
export type Mode = (typeof MODES)[number]

const OUTPUT: Uint8Array = new Uint8Array(200).fill(7)
const TTL_MS = 30_000
const NEXT: TaskOutcome = {
  kind: 'completed',
  output: OUTPUT,
  next: { position: { kind: 'at-task', taskId: 'b' } },
}

/** Works off steps of one database. */
export interface Worker extends AsyncDisposable {
  work(count: number): Promise<void>
}

/** Makes a database with this many instances at their first step. */
export async function fill(mode: Mode, path: string, count: number): Promise<void> {
  if (mode === 'bare') {
    const queue = new BareQueue(path)
    queue.fill(count)
    queue.close()
    return
  }
  await using backend = await SqliteBackend.connect({ path })
  for (let from = 0; from < count; from += 500) {
    const size = Math.min(500, count - from)
    await Promise.all(
      Array.from({ length: size }, (_, index) =>
        backend.saveSnapshot(
          createSnapshot({
            instanceId: `instance-${from + index}`,
            definitionHash: 'definition',
            position: { kind: 'at-task', taskId: 'a' },
          }),
        ),
      ),
    )
  }
}

/** A worker on such a database. */
export async function open(mode: Mode, path: string, workerId: string): Promise<Worker> {
  if (mode === 'bare' || mode === 'bare, all rows') {
    const queue = mode === 'bare' ? new BareQueue(path) : new BareRows(path)
    return {
      work: async (count) => {
        for (let done = 0; done < count; done += 1) queue.step(workerId, OUTPUT)
      },
      [Symbol.asyncDispose]: async () => queue.close(),
    }
  }
  const backend = await SqliteBackend.connect({ path })
  return {
    work: (count) => WORK[mode](backend, workerId, count),
    [Symbol.asyncDispose]: () => backend.close(),
  }
}

type Work = (backend: SqliteBackend, workerId: string, count: number) => Promise<void>

const WORK: Record<Exclude<Mode, `bare${string}`>, Work> = {
  'one at a time': async (backend, workerId, count) => {
    for (let done = 0; done < count; done += 1) {
      const [claimed] = await backend.claimAvailableTasks({ workerId, limit: 1, ttlMs: TTL_MS })
      await backend.commitTask({ claim: claimed!.claim, outcome: NEXT })
    }
  },
  claimNext: async (backend, workerId, count) => {
    let [claimed] = await backend.claimAvailableTasks({ workerId, limit: 1, ttlMs: TTL_MS })
    for (let done = 1; done < count; done += 1) {
      const { next } = await backend.commitTask({
        claim: claimed!.claim,
        outcome: NEXT,
        claimNext: { ttlMs: TTL_MS },
      })
      claimed = next!
    }
    await backend.commitTask({ claim: claimed!.claim, outcome: NEXT })
  },
  'batches of 50': async (backend, workerId, count) => {
    for (let done = 0; done < count; ) {
      const limit = Math.min(50, count - done)
      const tasks = await backend.claimAvailableTasks({ workerId, limit, ttlMs: TTL_MS })
      await Promise.all(tasks.map(({ claim }) => backend.commitTask({ claim, outcome: NEXT })))
      done += tasks.length
    }
  },
}
