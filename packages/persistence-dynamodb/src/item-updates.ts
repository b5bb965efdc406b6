import type { AttributeValue, BatchStatementRequest } from '@aws-sdk/client-dynamodb'
import { BackendError } from '@sayiir/persistence-core'
import { CallQueue } from '@sayiir/persistence-core/adapter'
import { isThrottled } from './errors.ts'
import { type Attributes, type Condition, keyOf, type Update } from './expressions.ts'
import type { InstanceItem } from './instance-item.ts'
import type { ItemKey } from './keys.ts'
import { sizeOf } from './packing.ts'
import type { Conditional, Service } from './service.ts'

/** Statements of a request at most: the service's limit. */
const MAX_STATEMENTS = 25
/** Bytes of a request at most; the service takes 4 MB. */
const MAX_BYTES = 2_000_000
/** Requests on their way at a time, before calls wait for company. */
const MAX_IN_FLIGHT = 4
/** Calls at once from which on one request for all is better than a request each: the service takes longer over a statement, and none is answered before all are. */
const MIN_STATEMENTS = 25

/** Bytes of an item up to which it is cheaper to send the whole than to tell what changes. */
const SMALL_BYTES = 2048

/** A conditional update of an instance's own item. */
interface Call {
  readonly key: ItemKey
  /** What must still be there; null: there must be no item. */
  readonly before: InstanceItem | null
  /** What is to be there, as it is stored. */
  readonly after: Attributes
}

/**
 * Compare-and-sets of instances' own items. Those in flight together travel in one request of
 * statements that succeed or fail each on its own (rule D10), at the price of single ones.
 */
export class ItemUpdates {
  readonly #service: Service
  readonly #queue: CallQueue<Call, Conditional>
  #waiting: Waiting[] = []

  constructor(service: Service) {
    this.#service = service
    this.#queue = new CallQueue({
      send: (calls) => this.#send(calls),
      maxCalls: MAX_STATEMENTS,
      maxBytes: MAX_BYTES,
      maxInFlight: MAX_IN_FLIGHT,
      sizeOf: ({ after }) => sizeOf(after),
    })
  }

  /** Makes an item what `after` says where nobody has written since `before`. */
  async compareAndSet(
    key: ItemKey,
    before: InstanceItem | null,
    after: Attributes,
  ): Promise<Conditional> {
    const { promise, resolve } = Promise.withResolvers<Conditional>()
    // At the end of this turn: what is called in one go leaves in one go.
    if (this.#waiting.length === 0) setImmediate(() => this.#leave())
    this.#waiting.push({ call: { key, before, after }, resolve })
    return promise.then(settled)
  }

  #leave(): void {
    const waiting = this.#waiting
    this.#waiting = []
    const isBurst = waiting.length >= MIN_STATEMENTS && !this.#service.isMetered
    for (const { call, resolve } of waiting) {
      const reply = isBurst ? this.#queue.call(call) : this.#single(call)
      resolve(reply.catch(rejected))
    }
  }

  async #send(calls: readonly Call[]): Promise<readonly Conditional[]> {
    const results = new Array<Conditional | null>(calls.length).fill(null)
    if (calls.length >= MIN_STATEMENTS) await this.#statements(calls, results)
    else {
      await Promise.all(
        calls.map(async (call, index) => {
          results[index] = await this.#single(call).catch(rejected)
        }),
      )
    }
    return results.map((result) => {
      if (result === null) throw new BackendError('UNAVAILABLE', 'a reply is missing')
      return result
    })
  }

  async #statements(calls: readonly Call[], results: (Conditional | null)[]): Promise<void> {
    const statements = calls.map((call) => this.#statement(call))
    const replies = await this.#service.statements(statements)
    await Promise.all(
      replies.map(async ({ code, message, found, repeated }, index) => {
        if (code === 'DuplicateItem') {
          // What is there is not told with this error.
          const there = await this.#service.get((calls[index] as Call).key)
          results[index] = { written: false, found: there, repeated }
        } else if (code === null) results[index] = { written: true, found: null, repeated }
        else if (code === 'ConditionalCheckFailed') {
          results[index] = { written: false, found, repeated }
        } else if (isThrottled(code) || code === 'InternalServerError') {
          // Alone it is tried again with pauses.
          results[index] = await this.#single(calls[index] as Call).catch(rejected)
        } else {
          results[index] = rejected(
            new BackendError('BACKEND', `the service refused a statement: ${message} (${code})`),
          )
        }
      }),
    )
  }

  #single({ key, before, after }: Call): Promise<Conditional> {
    const condition = conditionOf(before?.writes ?? null)
    return before === null || sizeOf(after) <= SMALL_BYTES
      ? this.#service.putIf(key, after, condition)
      : this.#service.updateIf(key, difference(before.stored, after), condition)
  }

  #statement({ key, before, after }: Call): BatchStatementRequest {
    const { tableName } = this.#service
    if (before === null) {
      const item = { ...keyOf(key), ...after }
      const names = Object.keys(item).map((name) => `'${name}':?`)
      return {
        Statement: `INSERT INTO "${tableName}" VALUE {${names.join(',')}}`,
        Parameters: Object.values(item),
      }
    }
    const update = difference(before.stored, after)
    const parameters: AttributeValue[] = []
    const sets = Object.entries(update.set).map(([name, value]) => {
      parameters.push(value)
      return `SET "${name}"=?`
    })
    const removes = update.remove.map((name) => `REMOVE "${name}"`)
    parameters.push({ S: key.p }, { S: key.s }, { S: before.writes })
    return {
      Statement: `UPDATE "${tableName}" ${[...sets, ...removes].join(' ')} WHERE "p"=? AND "s"=? AND "w"=?`,
      Parameters: parameters,
      ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
    }
  }
}

/** What an update of an instance's own item demands. */
export function conditionOf(writes: string | null): Condition {
  return writes === null ? { absent: true } : { attribute: 'w', is: { S: writes } }
}

/** What has to be set and removed. */
export function difference(before: Attributes, after: Attributes): Update {
  const set: Record<string, AttributeValue> = {}
  for (const [name, value] of Object.entries(after)) {
    const old = before[name]
    if (old === undefined || !isSame(old, value)) set[name] = value
  }
  return { set, remove: Object.keys(before).filter((name) => !(name in after)) }
}

function isSame(a: AttributeValue, b: AttributeValue): boolean {
  if (a === b) return true
  if (a.S !== undefined) return a.S === b.S
  if (a.N !== undefined) return a.N === b.N
  if (a.BOOL !== undefined) return a.BOOL === b.BOOL
  return a.B !== undefined && b.B !== undefined && Buffer.compare(a.B, b.B) === 0
}

interface Waiting {
  readonly call: Call
  resolve(reply: Promise<Conditional>): void
}

/** A failure of one call, which must not be that of those beside it. */
class Rejected implements Conditional {
  readonly written = false
  readonly found = null
  readonly repeated = false
  readonly error: unknown

  constructor(error: unknown) {
    this.error = error
  }
}

function rejected(error: unknown): Conditional {
  return new Rejected(error)
}

/** Throws what a call failed with. */
function settled(result: Conditional): Conditional {
  if (result instanceof Rejected) throw result.error
  return result
}
