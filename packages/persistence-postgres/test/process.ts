import type { BackendOptions } from '@sayiir/persistence-core'
import { PostgresBackend, type PostgresBackendOptions } from '@sayiir/persistence-postgres'

/** Where the processes that the suite spawns find the server of their run. */
const VARIABLE = 'SAYIIR_CONTRACT_POSTGRES_URL'

/** Lets processes that are spawned from here find the server. */
export function passOn(url: string): void {
  process.env[VARIABLE] = url
}

/** A backend on a namespace, here and in the processes that the suite spawns. */
export function connect(
  namespace: string,
  options?: BackendOptions & PostgresBackendOptions,
): Promise<PostgresBackend> {
  const url = process.env[VARIABLE] ?? ''
  return PostgresBackend.connect({ url, schema: namespace, ...options })
}
