import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { PersistentBackend } from '@sayiir/persistence-core'
import { runWorker, type WorkerEvent } from './worker-loop.ts'
import { DEFINITION_HASH, execute } from './workflow.ts'

/** A worker as the demo sees it. */
export interface Worker {
  readonly workerId: string
  /** The process, or null for a worker in this one. */
  readonly process: ChildProcess | null
  /** Resolves when it has ended; rejects when it failed by itself. */
  readonly ended: Promise<void>
  /** Asks it to finish what it has begun. */
  drain(): void
}

/** Starts a worker in a process of its own. */
export function startProcess(
  store: string,
  directory: string,
  workerId: string,
  ttlMs: number,
  onEvent: (event: WorkerEvent) => void,
): Worker {
  const child = fork(join(import.meta.dirname, 'worker.ts'), [
    store,
    directory,
    workerId,
    String(ttlMs),
  ])
  child.on('message', onEvent)
  return {
    workerId,
    process: child,
    ended: end(child, workerId),
    drain: () => void child.kill('SIGTERM'),
  }
}

async function end(child: ChildProcess, workerId: string): Promise<void> {
  const [code, signal] = await once(child, 'exit')
  if (code !== 0 && signal !== 'SIGKILL') {
    throw new Error(
      `worker ${workerId} failed (${signal ?? `exit code ${code}`}); its own message is above`,
    )
  }
}

/** Starts a worker inside this process, for a store that no other process sees. */
export function startHere(
  backend: PersistentBackend,
  directory: string,
  workerId: string,
  ttlMs: number,
  onEvent: (event: WorkerEvent) => void,
): Worker {
  const drain = new AbortController()
  const ended = runWorker({
    backend,
    workerId,
    definitionHash: DEFINITION_HASH,
    concurrency: 4,
    ttlMs,
    execute: (task) => execute(task, directory),
    drain: drain.signal,
    onEvent,
  })
  return { workerId, process: null, ended, drain: () => drain.abort() }
}
