import { writeSync } from 'node:fs'
import { createSnapshot } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'

/** Runs workflows, and tells of each step once it is acknowledged, until it is killed. */
const [, , path = '', prefix = ''] = process.argv
const backend = await SqliteBackend.connect({ path })

async function run(instanceId: string): Promise<void> {
  await backend.saveSnapshot(
    createSnapshot({
      instanceId,
      definitionHash: 'd',
      position: { kind: 'at-task', taskId: 'step-1' },
    }),
  )
  for (let step = 1; ; step += 1) {
    const taskId = `step-${step}`
    const claim = await backend.claimTask({ instanceId, taskId, workerId: 'w', ttlMs: 60_000 })
    if (claim === null) throw new Error(`${taskId} of ${instanceId} should be free`)
    await backend.commitTask({
      claim,
      outcome: {
        kind: 'completed',
        // Larger than a page now and then.
        output: new Uint8Array(step % 7 === 0 ? 9000 : 40).fill(step),
        next: { position: { kind: 'at-task', taskId: `step-${step + 1}` } },
      },
    })
    // Straight to the pipe: nothing is buffered in a process that is about to be killed.
    writeSync(1, `${instanceId} ${step}\n`)
  }
}

await Promise.all(Array.from({ length: 4 }, (_, index) => run(`${prefix}-${index}`)))
