import { now } from '../numbers.ts'
import { payload } from '../payload.ts'
import { STEPS } from '../sizes.ts'
import type { Hooks, Work } from '../subject.ts'

/** A peer's job. Queues know no steps: a chain of jobs, each of which adds the next one, stands for them. */
export interface PeerJob {
  readonly payload: string
  readonly step: number
}

/** So many first ones, in groups that one call can add. */
export function* jobs(count: number): Generator<PeerJob[]> {
  for (let from = 0; from < count; from += 1000) {
    const size = Math.min(1000, count - from)
    yield Array.from({ length: size }, () => ({ payload: payload(now()), step: 1 }))
  }
}

/** The handler of a job. */
export async function handle(
  job: PeerJob,
  { kind }: Pick<Work, 'kind'>,
  hooks: Hooks,
  add: (next: PeerJob) => Promise<unknown>,
): Promise<void> {
  hooks.started(job.payload)
  if (kind === 'steps' && job.step < STEPS) await add({ ...job, step: job.step + 1 })
  hooks.finished(1)
}

/** What every peer has in common: nothing to prepare, and its empty queue is the proof. */
export abstract class PeerSubject {
  readonly modes: readonly string[] = ['', 'wakeups']

  async warm(): Promise<void> {}

  async settle(): Promise<void> {}

  async verify(): Promise<void> {
    const left = await this.remaining()
    if (left > 0) throw new Error(`${left} jobs are left`)
  }

  abstract remaining(): Promise<number>
}
