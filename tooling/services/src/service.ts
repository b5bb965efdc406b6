/** The servers that tests can ask for. */
export type ServiceName =
  | 'postgres'
  | 'postgres-oldest'
  | 'pgbouncer'
  | 'redis'
  | 'redis-cluster'
  | 'redis-sentinel'
  | 'mongodb'
  | 'dynamodb'

/** Where a server comes from. */
export type Way = 'environment' | 'docker' | 'package'

/** Which server answers, and where. Plain data: it can be sent to another process. */
export interface ServiceInfo {
  readonly name: ServiceName
  /** Where clients connect. */
  readonly url: string
  /**
   * Every node's URL; one, except for `redis-cluster`, and `redis-sentinel`: the Sentinel, the master
   * and the replica, as they were at first.
   */
  readonly urls: readonly string[]
  /** The server behind PgBouncer; the same as `url` for every other service. */
  readonly directUrl: string
  /** Who answered: `PostgreSQL`, `PgBouncer`, `Redis`, `Valkey`, `MongoDB`, `FerretDB`, `DynamoDB Local`. */
  readonly product: string
  /** The version that the server itself tells. */
  readonly version: string
  readonly how: Way
  /** The variable, image or package that it comes from. */
  readonly source: string
}

/** A server of one's own: it ends with the process that started it. */
export interface Service extends ServiceInfo {
  /** Stops the server and removes its data. A second call does nothing. */
  stop(): Promise<void>
  /** Ends the server at once, as a crash does; `restart` brings it back with its data. */
  kill(): Promise<void>
  /** Stops the server if it runs and starts it again, on the same port and data. */
  restart(): Promise<void>
  /** Stops the server from running, while its connections stay open, until `resume`. */
  pause(): Promise<void>
  resume(): Promise<void>
}

/** Why there is no server, with the line that mends it as the last one. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError'
}
