import { type ChildProcess, fork } from 'node:child_process'
import { expect } from 'vitest'
import type { ContractContext } from './context.ts'
import type { ProcessMessage, ProcessTask } from './process-worker.ts'

/** What a test says of the process that it starts. */
export type ProcessParams = Omit<ProcessTask, 'module'>

// From source and built alike: the worker is a file of its own beside this one.
const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const workerPath = new URL(`./process-worker.${extension}`, import.meta.url)

/** Milliseconds for a process to end in that has nothing left to do: only a failing test waits so long. */
const EXIT_MS = 10_000

/** A process of its own with a backend on a namespace, which does one job. */
export class WorkerProcess implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #exited: Promise<number | null>
  readonly #messages: ProcessMessage[] = []
  readonly #stderr: string[] = []
  #heard: () => void = () => undefined
  #ended = false

  private constructor(child: ChildProcess) {
    this.#child = child
    child.on('message', (message: ProcessMessage) => {
      this.#messages.push(message)
      this.#heard()
    })
    child.stderr?.on('data', (chunk: Buffer) => this.#stderr.push(chunk.toString()))
    const { promise, resolve } = Promise.withResolvers<number | null>()
    this.#exited = promise
    child.once('close', (code) => {
      this.#ended = true
      resolve(code)
      this.#heard()
    })
  }

  /** Starts a process, and waits until it has connected, or, with `cold`, is about to. */
  static async start(t: ContractContext, params: ProcessParams): Promise<WorkerProcess> {
    const { processModule } = t.harness
    if (processModule === undefined) expect.fail('a shared backend’s harness has a processModule')
    const child = fork(workerPath, {
      execArgv: process.execArgv,
      silent: true,
    })
    const worker = new WorkerProcess(child)
    child.send({ ...params, module: processModule.href })
    try {
      await worker.#next('ready')
    } catch (error) {
      await worker[Symbol.asyncDispose]()
      throw error
    }
    return worker
  }

  /** Lets the job begin. */
  begin(): void {
    this.#child.send('begin')
  }

  /** The next thing that the job tells. */
  async report<T>(): Promise<T> {
    return (await this.#next('report')) as T
  }

  /** What the job has told that nobody has asked for. */
  takeReports<T>(): T[] {
    return this.#messages
      .splice(0)
      .flatMap((message) => (message.kind === 'report' ? [message.value as T] : []))
  }

  /** What the job came to; the process has ended by itself, without an error. */
  async result<T>(): Promise<T> {
    const value = await this.#next('done')
    const late = AbortSignal.timeout(EXIT_MS)
    const { promise: tooLate, reject } = Promise.withResolvers<never>()
    late.onabort = () => reject(new Error('a process went on after its backend was closed'))
    expect(await Promise.race([this.#exited, tooLate]), this.#stderr.join('')).toBe(0)
    late.onabort = null
    return value as T
  }

  /** Ends the process as `kill -9` does. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#ended) await this.kill()
  }

  async #next(kind: ProcessMessage['kind']): Promise<unknown> {
    for (;;) {
      const index = this.#messages.findIndex((message) => message.kind === kind)
      const message = this.#messages[index]
      if (message !== undefined) {
        this.#messages.splice(index, 1)
        return 'value' in message ? message.value : undefined
      }
      const failed = this.#messages.find((one) => one.kind === 'failed')
      if (failed !== undefined) expect.fail(`a process failed: ${failed.error}`)
      if (this.#ended) {
        expect.fail(`a process ended before it was ${kind}: ${this.#stderr.join('')}`)
      }
      await new Promise<void>((resolve) => {
        this.#heard = resolve
      })
    }
  }
}

/** Starts processes, which wait to begin, for as long as `use` runs. */
export async function withProcesses<T>(
  t: ContractContext,
  all: readonly ProcessParams[],
  use: (workers: readonly WorkerProcess[]) => Promise<T>,
): Promise<T> {
  const starting = all.map((params) => WorkerProcess.start(t, params))
  try {
    return await use(await Promise.all(starting))
  } finally {
    for (const started of await Promise.allSettled(starting)) {
      if (started.status === 'fulfilled') await started.value[Symbol.asyncDispose]()
    }
  }
}

/** Runs jobs in processes that begin at once; what each came to. */
export function runAtOnce<T>(t: ContractContext, all: readonly ProcessParams[]): Promise<T[]> {
  return withProcesses(t, all, (workers) => {
    for (const worker of workers) worker.begin()
    return Promise.all(workers.map((worker) => worker.result<T>()))
  })
}
