import { randomBytes } from 'node:crypto'
import { BackendError } from '@sayiir/persistence-core'
import { pause } from '@sayiir/persistence-core/adapter'
import type { Cluster, Redis, RedisOptions } from 'ioredis'
import type { Message } from './argument-writer.ts'
import { Deadlines } from './deadlines.ts'
import { isUnknownScript, mayBeSentAgain, toBackendError } from './errors.ts'
import type { Shard } from './layout.ts'
import type { CheckedOptions } from './options.ts'
import { ScriptCommand } from './script-command.ts'
import { type Script, type ScriptName, scripts } from './scripts.ts'

/** A client of ioredis. */
export type RedisClient = Redis | Cluster

/** What a script is given. */
export type Argument = string | number | Buffer

/** The part of a client, or of a pipeline, that runs scripts. Lists are flattened. */
interface ScriptRunner<Reply> {
  evalshaBuffer(
    sha: string,
    keyCount: number,
    keys: readonly string[],
    args: readonly Argument[],
  ): Reply
  evalBuffer(
    source: string,
    keyCount: number,
    keys: readonly string[],
    args: readonly Argument[],
  ): Reply
}

/** Milliseconds between two tries of a call that the server did not take, at first and at most. */
const RETRY_MS = { first: 10, most: 200 } as const

/**
 * Runs scripts within a bounded time. A call that was not answered is sent again, while its time
 * lasts; one that changes something carries a number, by which the server knows it again and
 * answers as before (rule S7), however it came to be sent twice.
 */
export class Connection {
  readonly client: RedisClient
  readonly #options: Pick<CheckedOptions, 'commandTimeoutMs' | 'waitReplicas'>
  /** The client, where it does no more with a command than to send it. */
  readonly #direct: Redis | null
  readonly #id = randomBytes(9).toString('base64url')
  readonly #deadlines: Deadlines
  readonly #slots = new Map<Shard, Slots>()
  /** Scripts that were sent in full. */
  readonly #told = new Set<ScriptName>()
  #number = 0

  /** @param silent Called when a call was not answered, and nothing else is heard either. */
  constructor(
    client: RedisClient,
    options: Pick<CheckedOptions, 'commandTimeoutMs' | 'waitReplicas'>,
    silent: () => void,
  ) {
    this.client = client
    this.#direct = sendsAsIs(client) ? client : null
    this.#options = options
    this.#deadlines = new Deadlines(options.commandTimeoutMs, silent)
  }

  get timeoutMs(): number {
    return this.#options.commandTimeoutMs
  }

  /** Runs a script that may be run again. */
  run(name: ScriptName, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    return this.#send(scripts[name], keys, args)
  }

  /**
   * Runs a script on a shard that must not be run again: its first two arguments are added.
   *
   * @param message The last arguments, or null.
   */
  runOnce(
    name: ScriptName,
    shard: Shard,
    keys: readonly string[],
    args: readonly Argument[],
    message: Message | null = null,
  ): Promise<unknown> {
    const script = scripts[name]
    const slots = this.#slotsOf(shard)
    const slot = slots.take()
    this.#number += 1
    const numbered: readonly Argument[] = [slot, this.#number, ...args]
    const direct = this.#direct
    if (direct === null || !this.#told.has(name) || this.#options.waitReplicas !== null) {
      return this.#send(script, keys, withMessage(numbered, message)).then((reply) => {
        slots.give(slot)
        return reply
      })
    }
    // What nearly every call is, with as few steps as it takes.
    return new Promise((resolve, reject) => {
      const done = (reply: unknown): void => {
        // After a failure it may still be on its way, so its slot is not used again.
        slots.give(slot)
        resolve(reply)
      }
      const command = new ScriptCommand(script, shard, keys, numbered, message)
      const deadline = performance.now() + this.timeoutMs
      const again = (error: unknown): void => {
        const whole = withMessage(numbered, message)
        this.#send(script, keys, whole, deadline, error).then(done, reject)
      }
      const sent = direct.sendCommand(command) as Promise<unknown>
      this.#deadlines.watch(sent, this.timeoutMs, done, again)
    })
  }

  /** Forgets what this object was answered. */
  async forget(): Promise<void> {
    await Promise.allSettled(
      Array.from(this.#slots, ([{ keys }, slots]) => this.run('tidy', keys, slots.all())),
    )
    this.#deadlines.stop()
  }

  /** A command's reply within the time that calls have. */
  async within<T>(reply: Promise<T>): Promise<T> {
    try {
      return await this.#deadlines.within(reply, this.timeoutMs)
    } catch (error) {
      throw toBackendError(error)
    }
  }

  #slotsOf(shard: Shard): Slots {
    const known = this.#slots.get(shard)
    if (known !== undefined) return known
    const slots = new Slots(`s:${this.#id}:`)
    this.#slots.set(shard, slots)
    return slots
  }

  /** @param failure Why it failed when it was sent before, or null. */
  async #send(
    script: Script,
    keys: readonly string[],
    args: readonly Argument[],
    deadline: number = performance.now() + this.timeoutMs,
    failure: unknown = null,
  ): Promise<unknown> {
    let last = failure
    for (let waitMs: number = RETRY_MS.first; ; waitMs = Math.min(waitMs * 2, RETRY_MS.most)) {
      if (last !== null && !isUnknownScript(last)) {
        if (!mayBeSentAgain(last) || performance.now() + waitMs >= deadline)
          throw toBackendError(last)
        // Not all that failed together together again: ioredis follows a slot that was moved only
        // where all calls of a pipeline, which it may have made by itself, want the same.
        await pause(waitMs * (0.5 + Math.random()))
      }
      try {
        return await this.#deadlines.within(
          this.#call(script, keys, args),
          deadline - performance.now(),
        )
      } catch (error) {
        last = error
      }
    }
  }

  async #call(
    script: Script,
    keys: readonly string[],
    args: readonly Argument[],
  ): Promise<unknown> {
    const { waitReplicas } = this.#options
    if (waitReplicas !== null && script.writes) return this.#replicated(script, keys, args)
    const runner = this.client as unknown as ScriptRunner<Promise<unknown>>
    // The server need not say first that it does not know a script that it was never told.
    if (!this.#told.has(script.name)) {
      this.#told.add(script.name)
      return runner.evalBuffer(script.source, keys.length, keys, args)
    }
    try {
      return await runner.evalshaBuffer(script.sha, keys.length, keys, args)
    } catch (error) {
      if (!isUnknownScript(error)) throw error
      return runner.evalBuffer(script.source, keys.length, keys, args)
    }
  }

  /** Runs a script, and waits until replicas have what it did. */
  async #replicated(
    script: Script,
    keys: readonly string[],
    args: readonly Argument[],
  ): Promise<unknown> {
    const { count = 0, timeoutMs = 0 } = this.#options.waitReplicas ?? {}
    const send = async (known: boolean): Promise<unknown> => {
      const pipeline = this.client.pipeline()
      const runner = pipeline as unknown as ScriptRunner<unknown>
      if (known) runner.evalshaBuffer(script.sha, keys.length, keys, args)
      else runner.evalBuffer(script.source, keys.length, keys, args)
      // On the same connection, so that it waits for what the script did.
      pipeline.wait(count, timeoutMs)
      const [outcome, replicas] = (await pipeline.exec()) ?? []
      if (outcome?.[0] != null) throw outcome[0]
      if (replicas?.[0] != null) throw replicas[0]
      if (Number(replicas?.[1]) < count) {
        throw new BackendError(
          'UNAVAILABLE',
          `the change was made, but only ${Number(replicas?.[1])} of ${count} replicas had it within ${timeoutMs} ms`,
        )
      }
      return outcome?.[1]
    }
    try {
      return await send(true)
    } catch (error) {
      if (!isUnknownScript(error)) throw error
      return send(false)
    }
  }
}

/** Arguments of which the last are those of a message. */
function withMessage(args: readonly Argument[], message: Message | null): readonly Argument[] {
  if (message === null) return args
  const apart = message.apart.map((one) =>
    typeof one === 'number' ? one : Buffer.from(one.buffer, one.byteOffset, one.byteLength),
  )
  return [...args, Buffer.from(message.bytes, 'latin1'), ...apart]
}

/** Whether a client neither adds a prefix, nor finds the node, nor gathers commands. */
function sendsAsIs(client: RedisClient): client is Redis {
  if (client.isCluster) return false
  const { keyPrefix, enableAutoPipelining, showFriendlyErrorStack } = client.options as RedisOptions
  return !keyPrefix && !enableAutoPipelining && !showFriendlyErrorStack
}

/** Places where the server keeps what it answered, each for one call at a time. */
class Slots {
  readonly #prefix: string
  readonly #free: string[] = []
  readonly #all: string[] = []

  constructor(prefix: string) {
    this.#prefix = prefix
  }

  take(): string {
    const free = this.#free.pop()
    if (free !== undefined) return free
    const slot = `${this.#prefix}${this.#all.length}`
    this.#all.push(slot)
    return slot
  }

  give(slot: string): void {
    this.#free.push(slot)
  }

  all(): readonly string[] {
    return this.#all
  }
}
