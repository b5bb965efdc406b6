import type { ServiceName } from './service.ts'

/** Who answers, in the server's own words. */
export interface Identity {
  readonly product: string
  readonly version: string
}

const connectMs = 2_000

/** Asks a server who it is, with the driver that the backends use. Rejects if it does not answer. */
export function identify(name: ServiceName, url: string): Promise<Identity> {
  switch (name) {
    case 'postgres':
    case 'postgres-oldest':
      return identifyPostgres(url)
    case 'pgbouncer':
      return identifyPgBouncer(url)
    case 'redis':
    case 'redis-cluster':
    case 'redis-sentinel':
      return identifyRedis(url)
    case 'mongodb':
      return identifyMongo(url)
    case 'dynamodb':
      return identifyDynamo(url)
  }
}

async function postgresQuery(url: string, query: string, database?: string): Promise<string> {
  const { default: postgres } = await import('postgres')
  const sql = postgres(url, {
    max: 1,
    connect_timeout: connectMs / 1_000,
    fetch_types: false,
    prepare: false,
    onnotice: () => undefined,
    ...(database === undefined ? {} : { database }),
  })
  try {
    const [row] = await sql.unsafe(query).simple()
    return String(Object.values(row ?? {})[0])
  } finally {
    await sql.end({ timeout: 1 })
  }
}

async function identifyPostgres(url: string): Promise<Identity> {
  const version = await postgresQuery(url, 'show server_version')
  return { product: 'PostgreSQL', version: version.replace(/ .*/, '') }
}

async function identifyPgBouncer(url: string): Promise<Identity> {
  await postgresQuery(url, 'select 1')
  try {
    const version = await postgresQuery(url, 'show version', 'pgbouncer')
    return { product: 'PgBouncer', version: version.replace(/^PgBouncer /, '') }
  } catch {
    // A user without rights to the console, as on a server named by the environment.
    return { product: 'PgBouncer', version: 'unknown' }
  }
}

async function identifyRedis(url: string): Promise<Identity> {
  const { Redis } = await import('ioredis')
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: connectMs,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  })
  redis.on('error', () => undefined)
  try {
    await redis.connect()
    const info = await redis.info('server')
    const valkey = /^valkey_version:(\S+)/m.exec(info)?.[1]
    if (valkey !== undefined) return { product: 'Valkey', version: valkey }
    return { product: 'Redis', version: /^redis_version:(\S+)/m.exec(info)?.[1] ?? 'unknown' }
  } finally {
    redis.disconnect()
  }
}

async function identifyMongo(url: string): Promise<Identity> {
  const { MongoClient } = await import('mongodb')
  const client = new MongoClient(url, {
    serverSelectionTimeoutMS: connectMs,
    connectTimeoutMS: connectMs,
  })
  try {
    const info = await client.db('admin').command({ buildInfo: 1 })
    const ferret: unknown = info.ferretdb
    if (typeof ferret === 'object' && ferret !== null && 'version' in ferret) {
      return { product: 'FerretDB', version: String(ferret.version).replace(/^v/, '') }
    }
    return { product: 'MongoDB', version: String(info.version) }
  } finally {
    await client.close()
  }
}

async function identifyDynamo(url: string): Promise<Identity> {
  const { DynamoDBClient, ListTablesCommand } = await import('@aws-sdk/client-dynamodb')
  const client = new DynamoDBClient({
    endpoint: url,
    region: 'local',
    credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
    maxAttempts: 1,
    requestHandler: { connectionTimeout: connectMs, requestTimeout: 10_000 },
  })
  let server = ''
  client.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args)
      const { headers } = result.response as { headers?: Record<string, string> }
      server = headers?.server ?? ''
      return result
    },
    { step: 'deserialize' },
  )
  try {
    await client.send(new ListTablesCommand({}))
  } finally {
    client.destroy()
  }
  const local = /Jetty/i.test(server)
  return { product: local ? 'DynamoDB Local' : 'DynamoDB', version: 'unknown' }
}
