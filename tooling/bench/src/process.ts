import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { Host, Progress } from './host.ts'

/** A call of a method of the child's host. */
export interface Question {
  readonly id: number
  readonly method: keyof Host
  readonly args: readonly unknown[]
}

/** What the child says: the end of a call, or how far its work is. */
export type Answer =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly problem: string }
  | { readonly progress: Progress }

/** A child process with a host in it. It lives as long as the run, so that its code is compiled once. */
export class BenchProcess {
  readonly #child: ChildProcess
  readonly #calls = new Map<number, PromiseWithResolvers<unknown>>()
  #next = 0
  #problem: Error | null = null
  /** Called when its work has come further. */
  progressed: (progress: Progress) => void = () => {}

  constructor() {
    this.#child = fork(new URL('./child.ts', import.meta.url), {
      env: { ...process.env, NODE_ENV: 'production' },
      serialization: 'advanced',
    })
    this.#child.on('message', (message: Answer) => this.#receive(message))
    this.#child.on('exit', (code, signal) => {
      this.#problem = new Error(`a process of the benchmark ended: ${signal ?? code}`)
      for (const { reject } of this.#calls.values()) reject(this.#problem)
      this.#calls.clear()
    })
  }

  async call<M extends keyof Host>(
    method: M,
    ...args: Parameters<Host[M]>
  ): Promise<Awaited<ReturnType<Host[M]>>> {
    if (this.#problem !== null) throw this.#problem
    const id = this.#next
    this.#next += 1
    const call = Promise.withResolvers<unknown>()
    this.#calls.set(id, call)
    const question: Question = { id, method, args }
    this.#child.send(question)
    return call.promise as Promise<Awaited<ReturnType<Host[M]>>>
  }

  async end(): Promise<void> {
    if (this.#problem !== null) return
    const exit = once(this.#child, 'exit')
    this.#child.disconnect()
    await exit
  }

  #receive(message: Answer): void {
    if ('progress' in message) {
      this.progressed(message.progress)
      return
    }
    const call = this.#calls.get(message.id)
    this.#calls.delete(message.id)
    if ('problem' in message) call?.reject(new Error(message.problem))
    else call?.resolve(message.result)
  }
}
