import type {
  AttributeValue,
  BatchExecuteStatementCommandInput,
  BatchExecuteStatementCommandOutput,
  BatchGetItemCommandOutput,
  BatchWriteItemCommandOutput,
  GetItemCommandOutput,
  QueryCommandInput,
  QueryCommandOutput,
  TransactWriteItem,
  TransactWriteItemsCommandOutput,
  WriteRequest,
} from '@aws-sdk/client-dynamodb'
import { BackendError } from '@sayiir/persistence-core'
import type { ServiceClock } from './clock.ts'
import { isThrottled, toBackendError } from './errors.ts'
import {
  type Attributes,
  type Condition,
  conditionOf,
  keyOf,
  type Update,
  updateOf,
} from './expressions.ts'
import type { ItemKey } from './keys.ts'
import type { CheckedOptions } from './options.ts'
import { Patience } from './patience.ts'
import type { Operation, Reply, Transport } from './transport.ts'

/** What became of a conditional write. */
export interface Conditional {
  readonly written: boolean
  /** Where it was not written: what is there; null: nothing. */
  readonly found: Attributes | null
  /** Whether the request may have been sent more than once. */
  readonly repeated: boolean
  /** What the changed attributes were, where that was asked for. */
  readonly old?: Attributes
}

/** Keys that one request reads at most. */
const GET_KEYS = 100
/** Items that one request writes at most: the service's limit. */
export const WRITE_REQUESTS = 25

interface CountedReply extends Reply {
  readonly ConsumedCapacity?: Consumed | Consumed[] | undefined
}

interface Consumed {
  readonly CapacityUnits?: number | undefined
}

/** The operations of the service that are used, on one table: errors told apart, throttling waited out, replies' dates taken in. */
export class Service {
  readonly tableName: string
  readonly clock: ServiceClock
  readonly #transport: Transport
  readonly #options: CheckedOptions

  constructor(transport: Transport, clock: ServiceClock, options: CheckedOptions) {
    this.#transport = transport
    this.#options = options
    this.clock = clock
    this.tableName = options.tableName
  }

  /** Whether it is to be told what each request consumes: of several statements together, the service does not tell it always. */
  get isMetered(): boolean {
    return this.#options.onConsumedCapacity !== null
  }

  /** Reads an item: strongly consistent. */
  async get(key: ItemKey): Promise<Attributes | null> {
    const input = { TableName: this.tableName, Key: keyOf(key), ConsistentRead: true }
    const { Item } = await this.#send<GetItemCommandOutput>('GetItem', input)
    return Item ?? null
  }

  /** Reads items; those that are not there are left out. */
  async getMany(
    keys: readonly ItemKey[],
    { consistent = false }: { readonly consistent?: boolean } = {},
  ): Promise<Attributes[]> {
    const items: Attributes[] = []
    const groups: ItemKey[][] = []
    for (let first = 0; first < keys.length; first += GET_KEYS)
      groups.push(keys.slice(first, first + GET_KEYS))
    await Promise.all(
      groups.map(async (group) => {
        let left: Record<string, AttributeValue>[] = group.map(keyOf)
        const patience = this.#patience()
        while (left.length > 0) {
          const { Responses, UnprocessedKeys } = await this.#send<BatchGetItemCommandOutput>(
            'BatchGetItem',
            {
              RequestItems: { [this.tableName]: { Keys: left, ConsistentRead: consistent } },
            },
          )
          items.push(...(Responses?.[this.tableName] ?? []))
          const before = left.length
          left = UnprocessedKeys?.[this.tableName]?.Keys ?? []
          // A reply holds 16 MB: that is no sign of overload.
          if (left.length > 0 && left.length === before) await patience.pause(() => overloaded())
        }
      }),
    )
    return items
  }

  /** One page of a partition. */
  async query(
    input: Omit<QueryCommandInput, 'TableName'>,
  ): Promise<{ readonly items: readonly Attributes[]; readonly next: Attributes | null }> {
    const { Items, LastEvaluatedKey } = await this.#send<QueryCommandOutput>('Query', {
      TableName: this.tableName,
      ...input,
    })
    return { items: Items ?? [], next: LastEvaluatedKey ?? null }
  }

  /** All items of a partition whose sort key begins so. */
  async queryAll(
    p: string,
    sPrefix: string,
    { consistent = true }: { readonly consistent?: boolean } = {},
  ): Promise<Attributes[]> {
    const items: Attributes[] = []
    let start: Attributes | null = null
    do {
      const page: { readonly items: readonly Attributes[]; readonly next: Attributes | null } =
        await this.query({
          KeyConditionExpression: sPrefix === '' ? 'p = :p' : 'p = :p AND begins_with(s, :s)',
          ExpressionAttributeValues: {
            ':p': { S: p },
            ...(sPrefix === '' ? undefined : { ':s': { S: sPrefix } }),
          },
          ConsistentRead: consistent,
          ...(start === null ? undefined : { ExclusiveStartKey: start }),
        })
      items.push(...page.items)
      start = page.next
    } while (start !== null)
    return items
  }

  /** Puts an item, whatever was there. */
  async put(key: ItemKey, attributes: Attributes): Promise<void> {
    const input = { TableName: this.tableName, Item: { ...keyOf(key), ...attributes } }
    await this.#send<Reply>('PutItem', input)
  }

  /** Puts an item where a condition holds. */
  putIf(key: ItemKey, attributes: Attributes, condition: Condition): Promise<Conditional> {
    return this.#conditional('PutItem', {
      TableName: this.tableName,
      Item: { ...keyOf(key), ...attributes },
      ...conditionOf(condition),
    })
  }

  /** Changes an item where a condition holds. */
  updateIf(
    key: ItemKey,
    update: Update,
    condition: Condition,
    { old = false }: { readonly old?: boolean } = {},
  ): Promise<Conditional> {
    return this.#conditional('UpdateItem', {
      TableName: this.tableName,
      ...updateOf(key, update, condition),
      ...(old ? { ReturnValues: 'UPDATED_OLD' as const } : undefined),
    })
  }

  /** Deletes an item where a condition holds. */
  deleteIf(key: ItemKey, condition: Condition): Promise<Conditional> {
    return this.#conditional('DeleteItem', {
      TableName: this.tableName,
      Key: keyOf(key),
      ...conditionOf(condition),
    })
  }

  /** Puts items, whatever was there; no two of one key. */
  putAll(
    items: readonly { readonly key: ItemKey; readonly attributes: Attributes }[],
  ): Promise<void> {
    return this.#writeAll(
      items.map(({ key, attributes }) => ({
        PutRequest: { Item: { ...keyOf(key), ...attributes } },
      })),
    )
  }

  /** Deletes items, whatever they are. */
  deleteAll(keys: readonly ItemKey[]): Promise<void> {
    return this.#writeAll(keys.map((key) => ({ DeleteRequest: { Key: keyOf(key) } })))
  }

  async #writeAll(requests: readonly WriteRequest[]): Promise<void> {
    for (let first = 0; first < requests.length; first += WRITE_REQUESTS) {
      let left = requests.slice(first, first + WRITE_REQUESTS)
      const patience = this.#patience()
      while (left.length > 0) {
        const input = { RequestItems: { [this.tableName]: left } }
        const { UnprocessedItems } = await this.#send<BatchWriteItemCommandOutput>(
          'BatchWriteItem',
          input,
        )
        left = UnprocessedItems?.[this.tableName] ?? []
        if (left.length > 0) await patience.pause(() => overloaded())
      }
    }
  }

  /**
   * Writes all or nothing; the first is a conditional update, and what became of it is told. A
   * reply that was lost is no trouble: the SDK's idempotency token goes with each try.
   */
  async transact(
    key: ItemKey,
    update: Update,
    condition: Condition,
    others: readonly TransactWriteItem[],
  ): Promise<Conditional> {
    const head = { TableName: this.tableName, ...updateOf(key, update, condition) }
    const input = { TransactItems: [{ Update: head }, ...others] }
    const patience = this.#patience()
    for (;;) {
      try {
        const { $metadata } = await this.#send<TransactWriteItemsCommandOutput>(
          'TransactWriteItems',
          input,
        )
        return { written: true, found: null, repeated: ($metadata.attempts ?? 1) > 1 }
      } catch (error) {
        const cause = (error as BackendError).cause as Cancelled | undefined
        if (cause?.name !== 'TransactionCanceledException') throw error
        const reasons = cause.CancellationReasons ?? []
        if (reasons[0]?.Code === 'ConditionalCheckFailed') {
          return { written: false, found: reasons[0].Item ?? null, repeated: true }
        }
        if (!reasons.some(({ Code }) => isThrottled(Code))) throw error
        await patience.pause(() => overloaded(cause))
      }
    }
  }

  /** Statements that each succeed or fail on their own. */
  async statements(
    statements: NonNullable<BatchExecuteStatementCommandInput['Statements']>,
  ): Promise<readonly StatementReply[]> {
    const { Responses, $metadata } = await this.#send<BatchExecuteStatementCommandOutput>(
      'BatchExecuteStatement',
      { Statements: statements },
    )
    const repeated = ($metadata.attempts ?? 1) > 1
    return statements.map((_, index) => {
      const error = Responses?.[index]?.Error
      return error === undefined
        ? { code: null, message: '', found: null, repeated }
        : {
            code: error.Code ?? 'InternalServerError',
            message: error.Message ?? '',
            found: error.Item ?? null,
            repeated,
          }
    })
  }

  /** Any other operation, with the same care. */
  send<O extends Reply>(operation: Operation, input: object): Promise<O> {
    return this.#send<O>(operation, input)
  }

  async #conditional(operation: Operation, input: object): Promise<Conditional> {
    try {
      const { $metadata, Attributes: old } = await this.#send<Changed>(operation, input)
      const repeated = ($metadata.attempts ?? 1) > 1
      return { written: true, found: null, repeated, ...(old === undefined ? undefined : { old }) }
    } catch (error) {
      const cause = (error as BackendError).cause as Failed | undefined
      if (cause?.name !== 'ConditionalCheckFailedException') throw error
      const repeated = (cause.$metadata?.attempts ?? 1) > 1
      return { written: false, found: cause.Item ?? null, repeated }
    }
  }

  async #send<O extends CountedReply>(operation: Operation, input: object): Promise<O> {
    const counted =
      this.#options.onConsumedCapacity === null
        ? input
        : { ...input, ReturnConsumedCapacity: 'TOTAL' }
    let patience: Patience | null = null
    for (;;) {
      try {
        const reply = await this.#transport.send<O>(operation, counted)
        this.#tell(operation, reply.ConsumedCapacity)
        return reply
      } catch (error) {
        if (!isThrottled((error as Error).name)) throw toBackendError(error)
        patience ??= this.#patience()
        await patience.pause(() => toBackendError(error))
      }
    }
  }

  /** Overload is waited out for longer than a request may take. */
  #patience(): Patience {
    return new Patience(2 * this.#options.requestTimeoutMs)
  }

  #tell(operation: string, consumed: Consumed | Consumed[] | undefined): void {
    const { onConsumedCapacity } = this.#options
    if (onConsumedCapacity === null || consumed === undefined) return
    let units = 0
    for (const one of Array.isArray(consumed) ? consumed : [consumed])
      units += one.CapacityUnits ?? 0
    const reads = /Get|Query/.test(operation)
    onConsumedCapacity({ operation, read: reads ? units : 0, write: reads ? 0 : units })
  }
}

/** What became of a statement. */
export interface StatementReply extends Pick<Conditional, 'found' | 'repeated'> {
  /** Null: it was done. */
  readonly code: string | null
  readonly message: string
}

interface Changed extends Reply {
  readonly Attributes?: Attributes | undefined
}

interface Failed extends Error {
  readonly Item?: Attributes
  readonly $metadata?: { readonly attempts?: number }
}

interface Cancelled extends Error {
  readonly CancellationReasons?: readonly { readonly Code?: string; readonly Item?: Attributes }[]
}

function overloaded(cause?: unknown): BackendError {
  const message = 'the table’s throughput is exceeded, or others are in the way; try again'
  return new BackendError('UNAVAILABLE', message, cause === undefined ? undefined : { cause })
}
