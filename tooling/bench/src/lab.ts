import type { Place, Server, WorkloadName } from './definition.ts'
import type { Contender } from './host.ts'
import { BenchProcess } from './process.ts'
import type { Sizes } from './sizes.ts'

/** What the workloads share: the server, the sizes, fresh namespaces, and processes. */
export class Lab implements AsyncDisposable {
  readonly server: Server
  /** Smaller in the warm-up. */
  sizes: Sizes
  readonly #processes = new Map<string, BenchProcess[]>()
  readonly #run = `${process.pid.toString(36)}${Date.now().toString(36)}`
  #places = 0

  constructor(server: Server, sizes: Sizes) {
    this.server = server
    this.sizes = sizes
  }

  /** A fresh namespace, on the server or through a proxy. */
  place(workload: WorkloadName, concurrency: number, url: string = this.server.url): Place {
    this.#places += 1
    return { url, namespace: `bench_${this.#run}_${this.#places}`, concurrency, workload }
  }

  /** The processes of a contender, started when first asked for. */
  processes({ module }: Contender, count: number): BenchProcess[] {
    const started = this.#processes.get(module) ?? []
    this.#processes.set(module, started)
    while (started.length < count) started.push(new BenchProcess())
    return started.slice(0, count)
  }

  /** One of them, which prepares and verifies. */
  control(contender: Contender): BenchProcess {
    return this.processes(contender, 1)[0] as BenchProcess
  }

  /** Opens a fresh namespace in the control process, and removes it at the end. */
  async with<T>(
    contender: Contender,
    place: Place,
    use: (control: BenchProcess, modes: readonly string[]) => Promise<T>,
  ): Promise<T> {
    const control = this.control(contender)
    const modes = await control.call('open', contender, place)
    try {
      await control.call('create', place.namespace)
      await control.call('warm', place.namespace)
      return await use(control, modes)
    } finally {
      await control.call('close', place.namespace, true)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#processes.values()].flat().map((child) => child.end()))
  }
}
