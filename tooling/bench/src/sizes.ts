/** How much is done. */
export interface Sizes {
  /** One-task instances of `W1`. */
  readonly jobs: number
  /** Instances of `W2`, each of 10 steps. */
  readonly instances: number
  /** New instances of `W3`, one every 50 ms. */
  readonly wakeups: number
  /** Pending instances of `W4`, ascending. */
  readonly depths: readonly number[]
  /** Claims of `W4` at each depth. */
  readonly claims: number
  /** Instances of `ENQ` that are saved with 10 in flight. */
  readonly saves: number
  /** Instances of `ENQ` in one `Promise.all`. */
  readonly burst: number
  /** Steps of `S6` and of `LOAD`. */
  readonly history: number
  /** Loads of `LOAD`. */
  readonly loads: number
  /** Jobs of `COST`. */
  readonly costs: number
  /** Milliseconds after which a drain is stopped; its rate is then over the time run. */
  readonly capMs: number
}

export const FULL: Sizes = {
  jobs: 5000,
  instances: 200,
  wakeups: 200,
  depths: [1000, 100_000, 1_000_000],
  claims: 300,
  saves: 2000,
  burst: 1000,
  history: 1000,
  loads: 50,
  costs: 1000,
  capMs: 30_000,
}

/** To see that all works, on a busy machine. */
export const QUICK: Sizes = {
  jobs: 1000,
  instances: 30,
  wakeups: 30,
  depths: [1000, 10_000],
  claims: 100,
  saves: 500,
  burst: 500,
  history: 200,
  loads: 20,
  costs: 300,
  capMs: 10_000,
}
/** Steps of an instance in `W2`. */
export const STEPS = 10
/** Bytes of a job's input and of a step's output. */
export const PAYLOAD_BYTES = 200
