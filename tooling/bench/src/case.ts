import type { WorkloadName } from './definition.ts'
import type { Figure } from './figure.ts'
import type { Lab } from './lab.ts'

/** What is measured in one go, once a repetition. */
export interface Case {
  /** Such as `W1:batch50:1x10`. */
  readonly id: string
  readonly workload: WorkloadName
  /** The case whose figures these are compared with. */
  readonly needs?: string
  /** Depends on how warm the code is: is run once before it counts, with less work. */
  readonly warmUp?: boolean
  run(lab: Lab): Promise<Figure[]>
}
