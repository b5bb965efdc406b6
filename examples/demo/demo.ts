import { BackendError, type PersistentBackend } from '@sayiir/persistence-core'
import { freezeInTask, kill, thaw } from './faults.ts'
import type { DemoOptions } from './options.ts'
import { Progress } from './progress.ts'
import { prove } from './proof.ts'
import { Tally } from './tally.ts'
import type { WorkerEvent } from './worker-loop.ts'
import { startHere, startProcess, type Worker } from './workers.ts'
import { fileRun } from './workflow.ts'

/** Milliseconds: how soon the tasks of a dead worker go to others. */
const TTL_MS = 1_500
/** Milliseconds without any progress after which something must be wrong. */
const STUCK_MS = 60_000

/** Runs the whole demonstration and returns what is wrong, a line each. */
export async function demonstrate(
  backend: PersistentBackend,
  store: string,
  files: readonly string[],
  options: DemoOptions,
): Promise<string[]> {
  await createRuns(backend, files, store)

  const tally = new Tally()
  const progress = new Progress(files.length)
  const workers = new Map<string, Worker>()
  const listeners = new Set<(event: WorkerEvent) => void>()
  const onEvent = (event: WorkerEvent): void => {
    tally.add(event)
    for (const listener of listeners) listener(event)
  }
  const failed = Promise.withResolvers<never>()
  failed.promise.catch(() => {})
  const start = (): Worker => {
    const workerId = `worker-${workers.size + 1}`
    const worker =
      backend.name === 'memory'
        ? startHere(backend, options.directory, workerId, TTL_MS, onEvent)
        : startProcess(store, options.directory, workerId, TTL_MS, onEvent)
    worker.ended.catch(failed.reject)
    workers.set(workerId, worker)
    return worker
  }
  const next = (kind: WorkerEvent['kind'], workerId: string): Promise<WorkerEvent> =>
    new Promise((resolve) => {
      const listener = (event: WorkerEvent): void => {
        if (event.kind !== kind || event.workerId !== workerId) return
        listeners.delete(listener)
        resolve(event)
      }
      listeners.add(listener)
    })

  const started = performance.now()
  try {
    for (let index = 0; index < options.workers; index += 1) start()
    const watch = watchUntilDone(backend, files.length, tally, progress, () => alive(workers))
    const faults = options.kill ? injectFaults() : Promise.resolve(null)
    await Promise.race([Promise.all([watch, faults]), failed.promise])
    const seconds = (performance.now() - started) / 1000

    const frozen = await faults
    if (frozen !== null) {
      const tooLate = next('lost', frozen.workerId)
      thaw(frozen)
      await Promise.race([tooLate, failed.promise])
      progress.say(`${frozen.workerId} woke up and wanted to commit: fenced off`)
    }
    for (const worker of workers.values()) worker.drain()
    await Promise.race([
      Promise.all([...workers.values()].map(({ ended }) => ended)),
      failed.promise,
    ])
    progress.stop()
    return await conclude(seconds)
  } finally {
    progress.stop()
    await Promise.all([...workers.values()].map(kill))
  }

  /** Freezes one worker and kills another, each in mid-task, and lets a fresh one join. */
  async function injectFaults(): Promise<Worker> {
    const [first, second] = [...workers.values()]
    if (first === undefined || second === undefined) throw new Error('two workers are needed')
    const victim = await freezeInTask(backend, first, () => next('started', first.workerId))
    await kill(first)
    progress.say(
      `${first.workerId} killed (SIGKILL) while it ran ${victim.taskId} of ${victim.instanceId}`,
    )
    progress.say(`${start().workerId} joined`)
    const stalled = await freezeInTask(backend, second, () => next('started', second.workerId))
    progress.say(
      `${second.workerId} frozen while it ran ${stalled.taskId} of ${stalled.instanceId}`,
    )
    return second
  }

  async function conclude(seconds: number): Promise<string[]> {
    const wrong = await prove(backend, files, options.directory)
    const steps = files.length * 6
    if (tally.duplicates > 0) wrong.push(`${tally.duplicates} tasks were committed more than once`)
    if (options.kill && tally.takeovers === 0)
      wrong.push('no task of the killed worker was taken over')
    const facts = [
      ['runs', `${files.length}, one for each file of ${options.directory}`],
      ['steps', `${steps} committed, ${tally.retries} retried`],
      ['takeovers', `${tally.takeovers} tasks of a killed or frozen worker`],
      ['fenced off', `${tally.fencedOff} late commits`],
      ['duplicates', `${tally.duplicates}`],
      [
        'time',
        `${seconds.toFixed(1)} s, ${Math.round(steps / seconds)} steps/s, with ${TTL_MS} ms until a silent worker's tasks go on`,
      ],
    ]
    console.log()
    for (const [name, fact] of facts) console.log(`  ${`${name}`.padEnd(12)}${fact}`)
    console.log()
    return wrong
  }
}

async function createRuns(
  backend: PersistentBackend,
  files: readonly string[],
  store: string,
): Promise<void> {
  try {
    await Promise.all(
      files.map((path) => backend.saveSnapshot(fileRun(path), { expectedRevision: 0 })),
    )
  } catch (error) {
    if (!BackendError.is(error, 'CONFLICT') && !BackendError.is(error, 'TERMINAL')) throw error
    throw new Error(`${store} holds these runs already; give --store a new one`, { cause: error })
  }
}

/** Shows the progress until every run has ended. */
async function watchUntilDone(
  backend: PersistentBackend,
  total: number,
  tally: Tally,
  progress: Progress,
  workers: () => number,
): Promise<void> {
  let last = ''
  let changedAt = performance.now()
  for (;;) {
    const { byStatus } = await backend.stats()
    const ended = byStatus.completed + byStatus.failed + byStatus.cancelled
    progress.update(ended, tally.commits, workers())
    if (ended === total) return
    const now = `${ended} ${tally.commits}`
    if (now !== last) changedAt = performance.now()
    else if (performance.now() - changedAt > STUCK_MS) {
      throw new Error(
        `nothing moved for ${STUCK_MS / 1000} s: ${ended} of ${total} runs have ended`,
      )
    }
    last = now
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

function alive(workers: ReadonlyMap<string, Worker>): number {
  return [...workers.values()].filter(
    ({ process: child }) => child?.signalCode == null && child?.exitCode == null,
  ).length
}
