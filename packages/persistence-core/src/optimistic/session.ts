import { BackendError, notFound, quote } from '../errors.ts'
import { delay, type Lifecycle } from '../lifecycle.ts'
import { InstanceCache } from './instance-cache.ts'
import { KnownResults } from './known-results.ts'
import type { InstanceWrite, OptimisticStore, StoredInstance, WriteResult } from './store.ts'
import { StoreClock } from './store-clock.ts'
import { type Turn, Turns } from './turns.ts'

/** Changes that are refused this often in a row mean that the store's compare-and-set does not work. */
const MAX_TRIES = 1000
/** Tries after which there are pauses between them. */
const EAGER_TRIES = 3
/** Milliseconds of a pause at most. */
const MAX_PAUSE_MS = 50

/**
 * New instances at a time up to which they are remembered. Those that are made by the hundred are for
 * whoever claims them, and to keep them takes a tenth of the processor time of making them: what is
 * kept is what a collector of garbage by generations has to copy.
 */
const MAX_STARTING = 100

/** Limits that apply to every call. */
export interface SessionOptions {
  readonly agingIntervalMs: number
  readonly maxPayloadBytes: number
}

/** A write that landed. */
export type Landed = Extract<WriteResult, { readonly written: true }>

/** What to write, and what to answer then. */
export interface Decision<T> {
  /** Null: nothing. */
  readonly write: InstanceWrite | null
  /**
   * @param after What is stored now; null where nothing was written.
   * @param isKept Whether anybody may have kept that, or a part of it.
   */
  reply(after: StoredInstance | null, result: Landed | null, isKept: boolean): T | Promise<T>
}

/** What a change is worked out from. */
export interface Basis {
  /** What was there when it was read. */
  readonly before: StoredInstance | null
  /** The store's clock, about. */
  readonly at: number
  /** Whether it is only a guess: then nothing may be concluded from it but a write. */
  readonly isGuess: boolean
}

type Decide<T> = (basis: Basis) => Decision<T> | Promise<Decision<T>>

/** How a change gets at what is stored. */
export interface ChangeOptions {
  /** What is there, or is supposed to be: saves the first read. Undefined: not known. */
  readonly guess?: StoredInstance | null | undefined
  /** Reads the instance. Left out: just reads it. */
  read?(): Promise<{ readonly now: number; readonly stored: StoredInstance | null }>
}

/** One backend object at work on a store: what its parts share. */
export class Session {
  readonly store: OptimisticStore
  readonly options: SessionOptions
  readonly lifecycle: Lifecycle
  readonly known: KnownResults = new KnownResults()
  readonly cache: InstanceCache = new InstanceCache()
  readonly clock: StoreClock = new StoreClock()
  readonly #turns = new Turns()
  /** New instances that are being written. */
  #starting = 0

  constructor(store: OptimisticStore, lifecycle: Lifecycle, options: SessionOptions) {
    this.store = store
    this.lifecycle = lifecycle
    this.options = options
  }

  /** Reads an instance. */
  async read(instanceId: string): Promise<{ now: number; stored: StoredInstance | null }> {
    const { now, stored } = await this.store.read(instanceId)
    this.saw(now, stored)
    return { now, stored }
  }

  /** Takes in what a reply told. */
  saw(now: number, stored?: StoredInstance | null): void {
    this.clock.observe(now)
    if (stored != null) this.cache.set(stored)
  }

  /**
   * Changes an instance: works out what to write from what is there, writes it if nobody was
   * faster, else again. In this process one change of an instance comes after the other, so that
   * they do not refuse each other.
   *
   * @throws what `decide` throws, unless that was from a guess.
   */
  change<T>(instanceId: string, decide: Decide<T>, options: ChangeOptions = {}): Promise<T> {
    const turn = this.#turns.begin(instanceId)
    return turn instanceof Promise
      ? turn.then((own) => this.#change(own, decide, options))
      : this.#change(turn, decide, options)
  }

  /** As `change`, of an instance that must be there. */
  changeExisting<T>(
    instanceId: string,
    decide: (before: StoredInstance, basis: Basis) => Decision<T> | Promise<Decision<T>>,
    options: ChangeOptions = {},
  ): Promise<T> {
    return this.change(
      instanceId,
      (basis) => {
        if (basis.before === null) throw notFound(instanceId)
        return decide(basis.before, basis)
      },
      options,
    )
  }

  // What most changes come through, with as few promises as can be: with a thousand in flight they
  // are what it costs.
  #change<T>(turn: Turn, decide: Decide<T>, { guess, read }: ChangeOptions): Promise<T> {
    if (guess === undefined || !this.clock.isKnown) return this.#changeRead(turn, decide, read)
    // The guess is of when the turn came, which may be after another change.
    const decided = this.#guess(decide, this.cache.get(turn.key) ?? guess)
    return decided instanceof Promise
      ? decided.then(
          (decision) => this.#writeGuess(turn, decision, decide, read),
          (error) => this.#fail(turn, error),
        )
      : this.#writeGuess(turn, decided, decide, read)
  }

  #writeGuess<T>(
    turn: Turn,
    decision: Decision<T> | null,
    decide: Decide<T>,
    read: ChangeOptions['read'],
  ): Promise<T> {
    const write = decision?.write
    if (write == null) return this.#changeRead(turn, decide, read)
    return this.#send(write).then(
      (result) => {
        const isKept = this.#wrote(result, write)
        if (!result.written) return this.#changeRead(turn, decide, read)
        this.#turns.end(turn)
        return (decision as Decision<T>).reply(write.after, result, isKept)
      },
      (error) => {
        this.#lost(write)
        return this.#fail(turn, error)
      },
    )
  }

  #changeRead<T>(turn: Turn, decide: Decide<T>, read: ChangeOptions['read']): Promise<T> {
    return this.#readAndChange(turn.key, decide, read).then(
      ({ decision, after, result }) => {
        // Not within the turn: an answer may have to change an instance, of its own turn.
        this.#turns.end(turn)
        return decision.reply(after, result, true)
      },
      (error) => this.#fail(turn, error),
    )
  }

  #fail(turn: Turn, error: unknown): never {
    this.#turns.end(turn)
    throw error
  }

  async #readAndChange<T>(
    instanceId: string,
    decide: Decide<T>,
    read: ChangeOptions['read'],
  ): Promise<Changed<T>> {
    for (let tries = 1; tries < MAX_TRIES; tries += 1) {
      const { now, stored } = await (read?.() ?? this.read(instanceId))
      if (stored === null) this.cache.delete(instanceId)
      const decision = await decide({ before: stored, at: now, isGuess: false })
      if (decision.write === null) return { decision, after: null, result: null }
      // A large write takes its time, and must come through at last.
      const toleranceMs = decision.write.toleranceMs * 2 ** Math.min(tries - 1, 8)
      const write = { ...decision.write, toleranceMs }
      const result = await this.#write(write)
      if (result.written) return { decision, after: write.after, result }
      if (tries > EAGER_TRIES) await delay(Math.random() * Math.min(tries * 2, MAX_PAUSE_MS))
    }
    throw new BackendError(
      'UNAVAILABLE',
      `instance ${quote(instanceId)} is changed by too many at once; try again later`,
      { instanceId },
    )
  }

  /** What to write if the guess is right; null where nothing but a write could be right. */
  #guess<T>(
    decide: Decide<T>,
    before: StoredInstance | null,
  ): Decision<T> | null | Promise<Decision<T> | null> {
    try {
      const decided = decide({ before, at: this.clock.now(), isGuess: true })
      return decided instanceof Promise ? decided.catch(ofGuess) : decided
    } catch (error) {
      return isOfGuess(error) ? null : Promise.reject(error)
    }
  }

  /** Whether it landed is not known where this rejects. */
  async #write(write: InstanceWrite): Promise<WriteResult> {
    try {
      const result = await this.#send(write)
      this.#wrote(result, write)
      return result
    } catch (error) {
      this.#lost(write)
      throw error
    }
  }

  /** To be told of what became of it: `#wrote` or `#lost`. */
  #send(write: InstanceWrite): Promise<WriteResult> {
    if (write.before === null) this.#starting += 1
    try {
      return this.store.write(write)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Takes in what became of a write; returns whether what it made may be kept. */
  #wrote(result: WriteResult, { instanceId, before, after }: InstanceWrite): boolean {
    const isOneOfMany = before === null && this.#starting > MAX_STARTING
    if (before === null) this.#starting -= 1
    if (result.written && !isOneOfMany) this.cache.set(after)
    else this.cache.delete(instanceId)
    // A clock that is ahead of the store's was observed before that was set back.
    if (!result.written && this.clock.now() > result.now) this.clock.reset(result.now)
    this.clock.observe(result.now)
    return !isOneOfMany
  }

  #lost({ instanceId, before }: InstanceWrite): void {
    if (before === null) this.#starting -= 1
    this.cache.delete(instanceId)
  }
}

function ofGuess(error: unknown): null {
  if (isOfGuess(error)) return null
  throw error
}

/**
 * What is wrong with a guess is not wrong with the call, or will be found to be so without it: what is
 * wrong with the call itself is wrong whatever is stored.
 */
function isOfGuess(error: unknown): boolean {
  return BackendError.is(error) || error instanceof TypeError || error instanceof RangeError
}

/** A change that was made, and not answered yet. */
interface Changed<T> {
  readonly decision: Decision<T>
  readonly after: StoredInstance | null
  readonly result: Landed | null
}
