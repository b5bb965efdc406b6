import * as fc from 'fast-check'
import { compareAll, type HistoryStore, INSTANCE_IDS } from './history-compare.ts'
import type { ModelClaim } from './history-instance.ts'
import { isHeld, type Model } from './history-model.ts'

export type HistoryCommand = fc.AsyncCommand<Model, HistoryStore>

/** A step of a history: done in the model and in the store, after which both must agree on everything. */
class Step<Args> implements HistoryCommand {
  readonly #name: string
  readonly #args: Args
  readonly #run: (args: Args, model: Model, store: HistoryStore) => Promise<void>

  constructor(
    name: string,
    args: Args,
    run: (args: Args, model: Model, store: HistoryStore) => Promise<void>,
  ) {
    this.#name = name
    this.#args = args
    this.#run = run
  }

  check(): boolean {
    return true
  }

  async run(model: Model, store: HistoryStore): Promise<void> {
    await this.#run(this.#args, model, store)
    await compareAll(model, store.backend)
  }

  toString(): string {
    return `${this.#name}(${JSON.stringify(this.#args)})`
  }
}

/** An arbitrary step. */
export function step<Args>(
  name: string,
  args: { [Key in keyof Args]: fc.Arbitrary<Args[Key]> },
  run: (args: Args, model: Model, store: HistoryStore) => Promise<void>,
): fc.Arbitrary<HistoryCommand> {
  return fc.record(args).map((given) => new Step(name, given as Args, run))
}

export const anInstance: fc.Arbitrary<string> = fc.constantFrom(...INSTANCE_IDS)
/** Who works. */
export const aWorker: fc.Arbitrary<string> = fc.constantFrom('w0', 'w1')
/** Mostly a claim that is held, else any that ever was: live, stale, committed. */
export const aClaim: fc.Arbitrary<ClaimChoice> = fc.record({
  held: fc.nat({ max: 3 }).map((one) => one > 0),
  back: fc.nat({ max: 5 }),
})

/** Which claim a step uses: how far back among those that are held, or among all that were made. */
export interface ClaimChoice {
  readonly held: boolean
  readonly back: number
}

/** The claim that was chosen, or one that was never made. */
export function pickClaim(model: Model, { held, back }: ClaimChoice): ModelClaim {
  const current = model.claims.filter((claim) =>
    isHeld(model.instances.get(claim.instanceId)?.tasks.get(claim.taskId), claim),
  )
  const from = held && current.length > 0 ? current : model.claims
  const [instanceId] = INSTANCE_IDS
  const never = { instanceId, taskId: 'a', workerId: 'w0', token: 1 }
  return from.length === 0 ? never : (from[from.length - 1 - (back % from.length)] ?? never)
}
