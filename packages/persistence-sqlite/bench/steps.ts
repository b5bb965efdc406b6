import { type ClaimedTask, createSnapshot, type TaskOutcome } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { BareQueue } from './bare.ts'

/** How steps are worked off. */
export const MODES = ['bare', 'one at a time', 'claimNext', 'batches of 50'] as const
export type Mode = (typeof MODES)[number]

const OUTPUT: Uint8Array = new Uint8Array(200).fill(7)
const TTL_MS = 30_000
const NEXT: TaskOutcome = {
  kind: 'completed',
  output: OUTPUT,
  next: { position: { kind: 'at-task', taskId: 'b' } },
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

/** Works off `count` steps. */
export async function work(
  mode: Mode,
  path: string,
  workerId: string,
  count: number,
): Promise<void> {
  if (mode === 'bare') {
    const queue = new BareQueue(path)
    for (let done = 0; done < count; done += 1) queue.step(workerId, OUTPUT)
    queue.close()
    return
  }
  await using backend = await SqliteBackend.connect({ path })
  const claim = (limit: number): Promise<ClaimedTask[]> =>
    backend.claimAvailableTasks({ workerId, limit, ttlMs: TTL_MS })
  if (mode === 'one at a time') {
    for (let done = 0; done < count; done += 1) {
      const [claimed] = await claim(1)
      await backend.commitTask({ claim: claimed!.claim, outcome: NEXT })
    }
  } else if (mode === 'claimNext') {
    let [claimed] = await claim(1)
    for (let done = 1; done < count; done += 1) {
      const receipt = await backend.commitTask({
        claim: claimed!.claim,
        outcome: NEXT,
        claimNext: { ttlMs: TTL_MS },
      })
      claimed = receipt.next!
    }
    await backend.commitTask({ claim: claimed!.claim, outcome: NEXT })
  } else {
    for (let done = 0; done < count; ) {
      const tasks = await claim(Math.min(50, count - done))
      await Promise.all(
        tasks.map(({ claim: held }) => backend.commitTask({ claim: held, outcome: NEXT })),
      )
      done += tasks.length
    }
  }
}
