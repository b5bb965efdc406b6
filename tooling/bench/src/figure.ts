import type { WorkloadName } from './definition.ts'

/** One measured number of one repetition. */
export interface Figure {
  readonly workload: WorkloadName
  /** What was measured: a row of the workload's table. */
  readonly what: string
  /** Under which circumstances: a column of the table. */
  readonly setting: string
  readonly value: number
  /** The key of the figure of the same repetition that it is compared with. */
  readonly than?: string
  /** The drain was stopped at the cap: the rate is over the time run. */
  readonly capped?: boolean
}

/** Names a figure, such as `W1:batch50:1x10`. */
export function keyOf({ workload, what, setting }: Omit<Figure, 'value'>): string {
  return `${workload}:${what}:${setting}`
}

/** What a workload's numbers are. */
export interface Meaning {
  readonly title: string
  readonly better: 'more' | 'less'
}

export const MEANINGS: Readonly<Record<WorkloadName, Meaning>> = {
  W1: { title: 'W1 drain, jobs/s (processes x concurrency)', better: 'more' },
  W2: {
    title: 'W2 durable steps/s, instances of 10 steps (processes x concurrency)',
    better: 'more',
  },
  W3: { title: 'W3 wakeup of an idle worker, ms from call to handler', better: 'less' },
  W4: { title: 'W4 claim of one in a deep queue, p50 in ms', better: 'less' },
  ENQ: { title: 'ENQ new instances/s', better: 'more' },
  LOAD: { title: 'LOAD of an instance with all its outputs, p50 in ms', better: 'less' },
  S6: { title: 'S6 bytes of a step in a long history', better: 'less' },
  COST: { title: 'COST of a job, W1 with 1 process and 10 in flight', better: 'less' },
}
