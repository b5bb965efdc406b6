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
  const { options, worker } = place()
  if (worker === undefined)
    return PostgresBackend.connect({ ...options, schema: namespace, ...given })
  await admit(worker, namespace)
  return connectSetUp(namespace, given)
}

/** A backend on a namespace that was set up, as the user who works there. */
export function connectSetUp(namespace: string, given?: BackendOptions): Promise<PostgresBackend> {
  const { options, worker } = place()
  const url = worker === undefined ? undefined : { url: worker.url }
  return PostgresBackend.connect({
    ...options,
    schema: namespace,
    ...given,
    ...url,
    migrate: false,
  })
}

function place(): Place {
  return JSON.parse(process.env[VARIABLE] ?? '{"options":{}}')
}
