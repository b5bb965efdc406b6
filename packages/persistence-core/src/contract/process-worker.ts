/**
 * What a process of its own does in the tests that race processes. Started by `processes.ts` with
 * the backend's module, a namespace and a job; told when to begin, so that all begin at once.
 */
import { on } from 'node:events'
import type { BackendOptions, PersistentBackend } from '../backend.ts'
import type { ClaimedTask, Next, TaskOutcome } from '../task-claim-store.ts'
import { createSnapshot } from '../transitions.ts'
import { largeSnapshot } from './large-snapshot.ts'

/** What a process is started for; sent as its first message. */
export interface ProcessTask {
  /** The module that connects the backend. */
  readonly module: string
  readonly namespace: string
  readonly job: JobName
  readonly workerId: string
  /** The instances that it works on, where the job names some. */
  readonly instanceIds?: readonly string[]
  /** Milliseconds that its claims last. */
  readonly ttlMs?: number
  /** Connects only when it is told to begin: a race of cold starts. */
  readonly cold?: boolean
}

/** What a process tells. */
export type ProcessMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'report'; readonly value: unknown }
  | { readonly kind: 'done'; readonly value: unknown }
  | { readonly kind: 'failed'; readonly error: string }

/** A task that a process has claimed, or done. */
export interface Handled {
  readonly instanceId: string
  readonly taskId: string
  readonly token: number
  readonly deliveries: number
}

interface Work extends ProcessTask {
  readonly backend: PersistentBackend
  report(value: unknown): void
}

const LONG_MS = 600_000
/** A task `step-N` leads to the next until this one. */
const LAST_STEP = 3

/** The name of what a process does. */
export type JobName = 'create' | 'race' | 'drain' | 'hold' | 'tokens' | 'overwrite' | 'wait'

const jobs: Readonly<Record<JobName, (work: Work) => Promise<unknown>>> = {
  create,
  race,
  drain,
  hold,
  tokens,
  overwrite,
  wait,
}

/** Stores an instance of its own, and sees it. */
async function create({ backend, workerId }: Work): Promise<number> {
  const instanceId = `of ${workerId}`
  await backend.saveSnapshot(createSnapshot({ instanceId, definitionHash: 'd' }))
  return (await backend.loadSnapshot(instanceId)).revision
}

/** Claims task `a` of each instance, and tells which it won. */
async function race({ backend, workerId, instanceIds = [] }: Work): Promise<string[]> {
  const claims = await Promise.all(
    instanceIds.map((instanceId) =>
      backend.claimTask({ instanceId, taskId: 'a', workerId, ttlMs: LONG_MS }),
    ),
  )
  return claims.flatMap((claim) => (claim === null ? [] : [claim.instanceId]))
}

/** Does tasks until no instance is in progress, and tells which it did. */
async function drain({ backend, workerId }: Work): Promise<Handled[]> {
  const handled: Handled[] = []
  for (;;) {
    const claimed = await backend.claimAvailableTasks({ workerId, limit: 3, ttlMs: LONG_MS })
    for (const first of claimed) {
      let next: ClaimedTask | null = first
      while (next !== null) {
        const current: ClaimedTask = next
        const receipt = await backend.commitTask({
          claim: current.claim,
          outcome: outcomeOf(current),
          // Every second commit asks for more.
          ...(handled.length % 2 === 0 ? { claimNext: { ttlMs: LONG_MS } } : undefined),
        })
        handled.push(handledBy(current))
        next = receipt.next
      }
    }
    if (claimed.length > 0) continue
    if ((await backend.stats()).byStatus['in-progress'] === 0) return handled
    await backend.waitForWakeup({ timeoutMs: 20 })
  }
}

/** Claims tasks, telling of each, and does none of them. */
async function hold({ backend, workerId, ttlMs = LONG_MS, report }: Work): Promise<never> {
  for (;;) {
    const claimed = await backend.claimAvailableTasks({ workerId, limit: 2, ttlMs })
    if (claimed.length > 0) report(claimed.map(handledBy))
    else await backend.waitForWakeup({ timeoutMs: 20 })
  }
}

/** Claims task `a` of an instance time after time, giving it up in every way that there is. */
async function tokens({ backend, workerId, instanceIds = [] }: Work): Promise<number[]> {
  const seen: number[] = []
  for (const instanceId of instanceIds) {
    const take = async (): Promise<number> => {
      const claim = await backend.claimTask({ instanceId, taskId: 'a', workerId, ttlMs: LONG_MS })
      if (claim === null) throw new Error(`${instanceId} should be free`)
      seen.push(claim.token)
      return claim.token
    }
    await backend.releaseTaskClaim({ instanceId, taskId: 'a', workerId, token: await take() })
    const outcome: TaskOutcome = { kind: 'retry', error: 'again', delayMs: 0 }
    const token = await take()
    await backend.commitTask({ claim: { instanceId, taskId: 'a', workerId, token }, outcome })
    await take()
    const snapshot = await backend.loadSnapshot(instanceId)
    await backend.deleteSnapshot(instanceId)
    await backend.saveSnapshot(snapshot)
  }
  return seen
}

/** Saves ever new versions of large instances, telling of each that it was acknowledged. */
async function overwrite({ backend, instanceIds = [], report }: Work): Promise<never> {
  for (let version = 1; ; version += 1) {
    await Promise.all(
      instanceIds.map(async (instanceId) => {
        const { revision } = await backend.saveSnapshot(largeSnapshot(instanceId, version))
        report({ instanceId, version, revision })
      }),
    )
  }
}

/** Begins to wait for work, and leaves the wait for the end of the backend to end. */
async function wait({ backend }: Work): Promise<boolean> {
  const waiting = backend.waitForWakeup({ timeoutMs: LONG_MS })
  await backend.checkHealth()
  void waiting.catch(() => undefined)
  return true
}

function handledBy({ task, claim }: ClaimedTask): Handled {
  const { instanceId, taskId, deliveries } = task
  return { instanceId, taskId, token: claim.token, deliveries }
}

function outcomeOf({ task, head }: ClaimedTask): TaskOutcome {
  const output = new TextEncoder().encode(`${task.instanceId}/${task.taskId}`)
  return { kind: 'completed', output, next: nextOf(task.taskId, head.state, task.branches) }
}

function nextOf(
  taskId: string,
  state: ClaimedTask['head']['state'],
  branches: ClaimedTask['task']['branches'],
): Next {
  if ('position' in state && state.position.kind === 'at-fork') return { branch: null }
  const step = Number(taskId.slice('step-'.length))
  if (taskId.startsWith('step-') && step < LAST_STEP) {
    return { position: { kind: 'at-task', taskId: `step-${step + 1}` } }
  }
  return { finalOutput: new TextEncoder().encode([...branches.keys()].sort().join()) }
}

function send(message: ProcessMessage): Promise<void> {
  // Resolved also where whoever started the process is gone.
  return new Promise((resolve) => process.send?.(message, () => resolve()))
}

// Listening all the time keeps the process alive while a job waits: a backend's timers do not.
const inbox = on(process, 'message')

async function nextMessage(): Promise<unknown> {
  const { value } = await inbox.next()
  return (value as readonly unknown[])[0]
}

async function main(): Promise<void> {
  const task = (await nextMessage()) as ProcessTask
  const { connect } = (await import(task.module)) as {
    connect(namespace: string, options?: BackendOptions): Promise<PersistentBackend>
  }
  let backend = task.cold === true ? null : await connect(task.namespace)
  const begin = nextMessage()
  await send({ kind: 'ready' })
  await begin
  backend ??= await connect(task.namespace)
  const report = (value: unknown): void => void send({ kind: 'report', value })
  const value = await jobs[task.job]({ ...task, backend, report })
  await backend.close()
  await send({ kind: 'done', value })
}

// Whoever started the process is gone, perhaps killed: nobody else would end it.
const orphaned = (): void => process.exit(1)
process.once('disconnect', orphaned)

try {
  await main()
} catch (error) {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  await send({ kind: 'failed', error: text })
  process.exitCode = 1
}
// From here on nothing of ours keeps the process alive: it must end by itself (rule M2).
process.off('disconnect', orphaned)
process.disconnect()
