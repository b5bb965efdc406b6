import type { WorkerEvent } from './worker-loop.ts'

/** Counts what the workers tell. */
export class Tally {
  readonly #commits = new Map<string, number>()
  readonly #retries = new Map<string, number>()
  #takeovers = 0
  #lost = 0

  add(event: WorkerEvent): void {
    const task = `${event.instanceId} ${event.taskId}`
    switch (event.kind) {
      case 'started':
        // Delivered more often than it was retried: somebody else had it before and did not finish.
        if (event.deliveries > (this.#retries.get(task) ?? 0) + 1) this.#takeovers += 1
        break
      case 'committed':
        this.#commits.set(task, (this.#commits.get(task) ?? 0) + 1)
        break
      case 'retried':
        this.#retries.set(task, (this.#retries.get(task) ?? 0) + 1)
        break
      case 'lost':
        this.#lost += 1
    }
  }

  /** Commits that were acknowledged to a worker. */
  get commits(): number {
    return sum(this.#commits.values())
  }

  get retries(): number {
    return sum(this.#retries.values())
  }

  /** Tasks that another worker had begun and did not finish. */
  get takeovers(): number {
    return this.#takeovers
  }

  /** Workers that came too late and were turned away. */
  get fencedOff(): number {
    return this.#lost
  }

  /** Tasks that more than one commit was acknowledged for. */
  get duplicates(): number {
    return [...this.#commits.values()].filter((count) => count > 1).length
  }
}

function sum(counts: Iterable<number>): number {
  let total = 0
  for (const count of counts) total += count
  return total
}
