/** A claimed job of a floor, with whatever else the floor needs to complete it. */
export interface FloorJob {
  /** As it was enqueued. */
  readonly payload: string
}

/**
 * Hand-written code on the bare driver: the fewest statements that claim and complete a job, each
 * durable as the backend's. What a backend is measured against. Claims are fenced by a token and
 * have an expiry; there are no retries, events or retention.
 *
 * `connect` opens as many connections as `place.concurrency` says, before it resolves. What a floor
 * leaves out is not measured for it.
 */
export interface Floor<Job extends FloorJob = FloorJob> extends AsyncDisposable {
  /** Makes the tables of the namespace. */
  create(): Promise<void>
  /** Removes them. */
  drop(): Promise<void>
  /** Adds at most 1,000 jobs the fastest way, not measured as single inserts. */
  fill(payloads: readonly string[]): Promise<void>
  /** What an operator would have done by then, such as `VACUUM ANALYZE`. */
  settle?(): Promise<void>
  /** One insert of one job. */
  enqueue(payload: string): Promise<unknown>
  /** The same, and tells whoever listens. */
  enqueueAndWake?(payload: string): Promise<unknown>
  /** Calls `wake` when a job arrives; resolves when it listens. Ends with the floor. */
  listen?(wake: () => void): Promise<void>
  /** Claims the first job that is ready. */
  claim(workerId: string): Promise<Job | undefined>
  complete(job: Job): Promise<unknown>
  /** Completes and claims the next one in one statement ("fused"). */
  completeAndClaim?(job: Job, workerId: string): Promise<Job | undefined>
  claimMany?(workerId: string, limit: number): Promise<Job[]>
  completeMany?(jobs: readonly Job[]): Promise<unknown>
  /** Stores the outputs of a job's steps so far, fenced; the last one is new. */
  checkpoint(job: Job, outputs: readonly string[]): Promise<unknown>
  /** The outputs that a job of this payload has so far. */
  load?(payload: string): Promise<readonly string[]>
  /** How many jobs are not completed. */
  remaining(): Promise<number>
}
