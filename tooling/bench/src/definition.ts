import type { PersistentBackend } from '@sayiir/persistence-core'
import type { Floor } from './floor.ts'
import type { Sizes } from './sizes.ts'

/** Where something is to be opened, and for how much work. */
export interface Place {
  /** The server's; in `COST` and `S6` that of a proxy in front of it. */
  readonly url: string
  /** Letters, digits and underscores, at most 40; fresh for every case. */
  readonly namespace: string
  /** How many calls will be in flight at once: for the size of a connection pool. */
  readonly concurrency: number
  /** What it is for. */
  readonly workload: WorkloadName
}

/** What a backend's module exports: run in processes of its own. */
export interface BackendModule {
  connect(place: Place): Promise<PersistentBackend>
  /** Removes a namespace from the server. */
  drop?(place: Place): Promise<void>
  /** What an operator would have done by then, such as `VACUUM ANALYZE`. */
  settle?(place: Place): Promise<void>
  /**
   * Copies a stored instance `count` times inside the store, as `<id>-0000001` and so on, with its
   * place in the queue: much faster than saving a million. Left out, the instances are saved.
   */
  clone?(place: Place, instanceId: string, count: number): Promise<void>
}

/** What a floor's module exports. */
export interface FloorModule {
  connect(place: Place): Promise<Floor>
}

/** A running server; what `startService` returns is one. */
export interface Server {
  readonly url: string
  /** Such as `PostgreSQL`. */
  readonly product: string
  readonly version: string
  stop(): Promise<void>
  /**
   * What has been written so far, by name, such as `{ 'WAL bytes': 123 }`: exact at any moment.
   * Differences are shown in `S6` for single steps and in `COST` for each job.
   */
  bytes?(place: Place): Promise<Readonly<Record<string, number>>>
  /**
   * Further counters, such as commits or capacity units, for `COST`: read before a connection is
   * opened and after it is closed, because servers tell some of them late.
   */
  counters?(place: Place): Promise<Readonly<Record<string, number>>>
}

/** The workloads, see the README. */
export type WorkloadName = 'W1' | 'W2' | 'W3' | 'W4' | 'ENQ' | 'LOAD' | 'S6' | 'COST'

/** Something else that a user could take, measured beside backend and floor. */
export interface Peer {
  /** Its row in the tables. */
  readonly name: string
  /** The module that exports `connect(place)`, a `Subject`: see `subject.ts`. */
  readonly module: string
  readonly workloads: readonly WorkloadName[]
}

/** What has to hold for a figure's ratio. */
export interface Aim {
  readonly atLeast?: number
  readonly atMost?: number
}

/** A backend's benchmark. */
export interface Definition {
  /** The backend's, such as `postgres`. */
  readonly name: string
  start(): Promise<Server>
  /** The module of the backend, as `import.meta.resolve('./backend.ts')`. */
  readonly backend: string
  /** The module of the floor. */
  readonly floor: string
  /** Left out: all. */
  readonly workloads?: readonly WorkloadName[]
  /** For slow stores: less of something. */
  readonly sizes?: Partial<Sizes>
  /** With `--peers`. */
  readonly peers?: readonly Peer[]
  /** By the key of the figure, such as `W1:batch50:1x10`; a ratio out of its bounds is a failure. */
  readonly aims?: Readonly<Record<string, Aim>>
}
