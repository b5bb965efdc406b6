import type { BackendOptions } from '@sayiir/persistence-core'
import { PostgresBackend, type PostgresConnectOptions } from '@sayiir/persistence-postgres'
import { admit, type Worker } from './least-privileges.ts'

/** Where the processes that the suite spawns find the server of their run. */
const VARIABLE = 'SAYIIR_CONTRACT_POSTGRES'

/** How a backend connects, and as whom. */
export interface Place {
  readonly options: PostgresConnectOptions
  /** Left out: as the owner of the tables. */
  readonly worker?: Worker
}

/** Lets processes that are spawned from here find the server. */
export function passOn(place: Place): void {
  process.env[VARIABLE] = JSON.stringify(place)
}

/** A backend on a namespace, here and in the processes that the suite spawns. */
export async function connect(namespace: string, given?: BackendOptions): Promise<PostgresBackend> {
  const { options, worker }: Place = JSON.parse(process.env[VARIABLE] ?? '{"options":{}}')
  const common = { ...options, schema: namespace, ...given }
  if (worker === undefined) return PostgresBackend.connect(common)
  await admit(worker, namespace)
  return PostgresBackend.connect({ ...common, url: worker.url, migrate: false })
}
