import type { BackendOptions } from '@sayiir/persistence-core'
import { PostgresBackend, type PostgresConnectOptions } from '@sayiir/persistence-postgres'

/** Where the processes that the suite spawns find the server of their run. */
const VARIABLE = 'SAYIIR_CONTRACT_POSTGRES'

/** Lets processes that are spawned from here find the server. */
export function passOn(url: string, options: PostgresConnectOptions): void {
  process.env[VARIABLE] = JSON.stringify({ url, ...options })
}

/** A backend on a namespace, here and in the processes that the suite spawns. */
export function connect(namespace: string, options?: BackendOptions): Promise<PostgresBackend> {
  const given: PostgresConnectOptions = JSON.parse(process.env[VARIABLE] ?? '{}')
  return PostgresBackend.connect({ ...given, schema: namespace, ...options })
}
