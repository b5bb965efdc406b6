import {
  BatchExecuteStatementCommand,
  BatchGetItemCommand,
  BatchWriteItemCommand,
  CreateTableCommand,
  DeleteItemCommand,
  DescribeTableCommand,
  type DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  TransactWriteItemsCommand,
  UpdateItemCommand,
  UpdateTimeToLiveCommand,
} from '@aws-sdk/client-dynamodb'
import type { ServiceClock } from './clock.ts'

/** What a backend uses of a client of the AWS SDK. */
export type DynamoDBClientLike = Pick<DynamoDBClient, 'send'>

/** The operations of the service that are used. */
export type Operation =
  | 'BatchExecuteStatement'
  | 'BatchGetItem'
  | 'BatchWriteItem'
  | 'CreateTable'
  | 'DeleteItem'
  | 'DescribeTable'
  | 'GetItem'
  | 'PutItem'
  | 'Query'
  | 'TransactWriteItems'
  | 'UpdateItem'
  | 'UpdateTimeToLive'

/** One command of the driver's; structural, so that any copy of the SDK will do. */
interface Command {
  readonly middlewareStack: { add: (middleware: never, options: never) => void }
}

const COMMANDS: Readonly<Record<Operation, new (input: never) => Command>> = {
  BatchExecuteStatement: BatchExecuteStatementCommand,
  BatchGetItem: BatchGetItemCommand,
  BatchWriteItem: BatchWriteItemCommand,
  CreateTable: CreateTableCommand,
  DeleteItem: DeleteItemCommand,
  DescribeTable: DescribeTableCommand,
  GetItem: GetItemCommand,
  PutItem: PutItemCommand,
  Query: QueryCommand,
  TransactWriteItems: TransactWriteItemsCommand,
  UpdateItem: UpdateItemCommand,
  UpdateTimeToLive: UpdateTimeToLiveCommand,
}

/** What every reply has. */
export interface Reply {
  readonly $metadata: { readonly attempts?: number | undefined }
}

/** How requests get to the service, and their replies back. */
export interface Transport {
  /** Rejects with an error as the SDK has it: with `name`, `$metadata`, and what the service told. */
  send<O extends Reply>(operation: Operation, input: object): Promise<O>
}

/** A request as the SDK sends it. */
export interface SentRequest {
  readonly protocol: string
  readonly hostname: string
  readonly port?: number
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
}

/** Requests by a client of the SDK, with all that this one was made to do. */
export class SdkTransport implements Transport {
  readonly #client: DynamoDBClientLike
  readonly #clock: ServiceClock
  readonly #timeoutMs: number
  /** Told of each request that was answered. */
  onSent: ((request: SentRequest) => void) | null = null

  constructor(client: DynamoDBClientLike, clock: ServiceClock, timeoutMs: number) {
    this.#client = client
    this.#clock = clock
    this.#timeoutMs = timeoutMs
  }

  async send<O extends Reply>(operation: Operation, input: object): Promise<O> {
    const command = new COMMANDS[operation](input as never)
    this.#watch(command)
    const abortSignal = AbortSignal.timeout(this.#timeoutMs)
    return (await this.#client.send(command as never, { abortSignal })) as unknown as O
  }

  /** Takes in when each try was sent and answered, and what time the service had. */
  #watch(command: Command): void {
    const middleware =
      (next: (args: unknown) => Promise<{ response: unknown }>) =>
      async (args: { readonly request: SentRequest }) => {
        const sentAt = performance.now()
        const reply = await next(args)
        const { headers } = reply.response as { headers?: Record<string, string> }
        this.#clock.observe(headers?.date, sentAt, performance.now())
        this.onSent?.(args.request)
        return reply
      }
    // Behind the reading of the body, so that it is as close to the wire as can be.
    const options = { step: 'deserialize', priority: 'low', name: 'sayiirClock', override: true }
    command.middlewareStack.add(middleware as never, options as never)
  }
}
