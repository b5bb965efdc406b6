/** A worker process: `worker.ts STORE DIRECTORY WORKER_ID TTL_MS`. Drains on SIGTERM. */
import { openStore } from './stores.ts'
import { runWorker, type WorkerEvent } from './worker-loop.ts'
import { DEFINITION_HASH, execute } from './workflow.ts'

const [store = '', directory = '', workerId = '', ttlMs = ''] = process.argv.slice(2)

const drain = new AbortController()
process.on('SIGTERM', () => drain.abort())
// The parent is gone: nobody would stop this process.
process.on('disconnect', () => drain.abort())

const backend = await openStore(store)
try {
  await runWorker({
    backend,
    workerId,
    definitionHash: DEFINITION_HASH,
    concurrency: 4,
    ttlMs: Number(ttlMs),
    execute: (task) => execute(task, directory),
    drain: drain.signal,
    onEvent: (event: WorkerEvent) => process.send?.(event),
  })
} finally {
  await backend.close()
}
process.disconnect?.()
