import postgres from 'postgres'
import { Client, type PostgresClient } from './client.ts'
import type { CheckedConnection, CheckedOptions } from './options.ts'
import { Pool } from './pool.ts'

/** Seconds between two tries to connect at most. */
const MAX_BACKOFF_S = 0.5

/** Makes a client of our own; it connects when it is first used. */
export function open(connection: CheckedConnection, options: CheckedOptions): Client {
  const { url, maxConnections, preparedStatements, connectTimeoutMs, ssl, ...rest } = connection
  const made: postgres.Options<Record<string, never>> = {
    ...(rest as object),
    ...(ssl === undefined ? undefined : { ssl: ssl as 'require' }),
    max: 1,
    prepare: preparedStatements,
    connect_timeout: Math.ceil(connectTimeoutMs / 1000),
    backoff: (retries: number) => Math.min(MAX_BACKOFF_S, 0.01 * 2 ** retries),
    // Arrays are sent and read as texts.
    fetch_types: false,
    onnotice: () => {},
    connection: { application_name: 'sayiir' },
  } as postgres.Options<Record<string, never>>
  const make = (): PostgresClient =>
    (url === undefined ? postgres(made) : postgres(url, made)) as unknown as PostgresClient
  return new Client(new Pool(make, maxConnections), options)
}
