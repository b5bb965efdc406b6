import type { ServiceName } from './service.ts'

/** `SAYIIR_TEST_REDIS_CLUSTER_URL`, `SAYIIR_TEST_POSTGRES_IMAGE`, … */
export function variable(name: ServiceName, kind: 'URL' | 'IMAGE'): string {
  return `SAYIIR_TEST_${name.toUpperCase().replace('-', '_')}_${kind}`
}

/** The line that makes the tests use a server that is there already. */
export function serverUrlLine(name: ServiceName): string {
  return `If you have one: export ${variable(name, 'URL')}=${examples[name]}`
}

const examples: Readonly<Record<ServiceName, string>> = {
  postgres: 'postgres://postgres:postgres@127.0.0.1:5432/postgres',
  'postgres-oldest': 'postgres://postgres:postgres@127.0.0.1:5432/postgres',
  pgbouncer: 'postgres://postgres:postgres@127.0.0.1:6432/postgres',
  redis: 'redis://127.0.0.1:6379',
  'redis-cluster': 'redis://127.0.0.1:7001,redis://127.0.0.1:7002,redis://127.0.0.1:7003',
  'redis-sentinel': 'redis://127.0.0.1:26379,redis://127.0.0.1:7101,redis://127.0.0.1:7102',
  mongodb: "'mongodb://127.0.0.1:27017/?directConnection=true'",
  dynamodb: 'http://127.0.0.1:8000',
}
