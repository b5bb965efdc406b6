/**
 * What the harness measures, opened on one namespace in one process: a backend and a floor behind
 * the same interface, and peers, which implement it themselves.
 */
export interface Subject extends AsyncDisposable {
  /** The modes of `work` that it has; `wakeups`, `claims` and `loads` among them for `W3`, `W4` and `LOAD`. */
  readonly modes: readonly string[]
  /** Makes what a fresh namespace needs, once. */
  create(): Promise<void>
  /** Opens what is opened only when many calls are in flight, in every process. */
  warm(): Promise<void>
  /** Adds work that is ready. */
  fill(kind: WorkKind, count: number): Promise<void>
  settle(): Promise<void>
  /** Works until `signal` aborts. */
  work(work: Work, hooks: Hooks, signal: AbortSignal): Promise<void>
  /** Adds one piece of work, and wakes an idle worker if `wake` is set. */
  send(payload: string, wake: boolean): Promise<unknown>
  /** Adds many at once, the way one does it there. */
  sendMany?(payloads: readonly string[]): Promise<unknown>
  /** How much is not completed, for those that `finished` tells nothing of acknowledged completion. */
  remaining?(): Promise<number>
  /** Throws unless this much work is completed, each piece once, with all outputs. */
  verify(kind: WorkKind, count: number): Promise<void>
  /** Adds this many of a crowd for `W4`, of which `own` can be claimed. */
  deepen?(crowd: CrowdName, count: number, own: number): Promise<void>
  /** Claims one of them. */
  claimOne?(crowd: CrowdName): Promise<void>
  /** Makes an instance of so many steps, for `LOAD`. */
  lengthen?(steps: number): Promise<void>
  /** Loads it; how many outputs it has. */
  loadOne?(): Promise<number>
  /** Removes the namespace. */
  drop(): Promise<void>
}

/**
 * `jobs` have one task each, `steps` ten; `wakeups` are jobs whose payload tells when they were sent;
 * `idle` is to be woken by jobs and to take none.
 */
export type WorkKind = 'jobs' | 'steps' | 'wakeups' | 'idle'

/** What most of a deep queue is. */
export type CrowdName = 'all alike' | 'other tags' | 'other definitions' | 'not yet due'

export interface Work {
  readonly kind: WorkKind
  readonly mode: string
  readonly concurrency: number
}

export interface Hooks {
  /** A handler starts, with the input's text. */
  started(payload: string): void
  /** This many jobs or steps are done: their completion is acknowledged. */
  finished(count: number): void
}
