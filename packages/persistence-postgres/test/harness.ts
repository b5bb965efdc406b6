import type { BackendOptions } from '@sayiir/persistence-core'
import type { ContractHarness } from '@sayiir/persistence-core/contract'
import { migrate, PostgresBackend, type PostgresConnectOptions } from '@sayiir/persistence-postgres'
import type { ServiceInfo } from '@sayiir/services'
import postgres from 'postgres'
import { afterAll } from 'vitest'
import { admit, type Worker } from './least-privileges.ts'
import { connect, connectSetUp, passOn } from './process.ts'

/**
 * How the suite runs on a server.
 *
 * @param worker As whom; left out: as the owner of the tables.
 */
export function harnessOf(
  name: string,
  { url, directUrl }: ServiceInfo,
  options: PostgresConnectOptions & BackendOptions = {},
  worker?: Worker,
): ContractHarness {
  passOn({ options: { url, ...options }, ...(worker === undefined ? undefined : { worker }) })
  const admin = postgres(directUrl, { max: 2, onnotice: () => {} })
  afterAll(() => admin.end())
  return {
    name,
    capabilities: {
      durable: true,
      shared: true,
      wakeups: options.wakeups ?? 'push',
      clock: 'store',
      order: 'global',
    },
    connect,
    drop: async (namespace) => {
      await admin`DROP SCHEMA IF EXISTS ${admin(namespace)} CASCADE`
    },
    processModule: new URL('./process.ts', import.meta.url),
    borrow: async (namespace) => {
      const prepare = options.preparedStatements ?? true
      const client = postgres(url, { max: 2, prepare, onnotice: () => {} })
      return {
        backend: await PostgresBackend.fromClient(client, { schema: namespace }),
        isOpen: () =>
          client`SELECT 1`.then(
            () => true,
            () => false,
          ),
        close: () => client.end(),
      }
    },
    leastPrivileges: {
      setUp: (namespace) =>
        worker === undefined ? migrate({ url, schema: namespace }) : admit(worker, namespace),
      connect: connectSetUp,
      ...(worker === undefined
        ? undefined
        : { overreach: (schema: string) => migrate({ url: worker.url, schema: `${schema}_x` }) }),
    },
  }
}
