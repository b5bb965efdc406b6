import { BackendError } from '@sayiir/persistence-core'
import { isCluster } from './client.ts'
import type { Connection } from './connection.ts'
import { descriptionKey, Layout } from './layout.ts'
import type { CheckedOptions } from './options.ts'

/** One more with every change of what is stored that older versions would misread. */
const FORMAT = 1
/** Shards of a new prefix in a cluster: enough for a few masters, few enough to be asked at once. */
const CLUSTER_SHARDS = 16

/**
 * Sets a prefix up unless it is, and tells how its instances are divided.
 *
 * @throws `SCHEMA` for one that is missing (with `migrate: false`), newer, or divided otherwise.
 */
export async function setUp(connection: Connection, options: CheckedOptions): Promise<Layout> {
  const { keyPrefix, shards, migrate } = options
  const wanted = shards ?? (isCluster(connection.client) ? CLUSTER_SHARDS : 1)
  const stored = await describe(connection, keyPrefix, wanted, migrate)
  if (stored === null) {
    const message = `there is nothing under the key prefix ${JSON.stringify(keyPrefix)}: connect once without migrate: false, which sets it up`
    throw new BackendError('SCHEMA', message)
  }
  if (shards !== null && shards !== stored) {
    throw new BackendError(
      'SCHEMA',
      `the key prefix ${JSON.stringify(keyPrefix)} was set up with ${stored} shards, which can not be changed; connect with shards: ${stored}, or without`,
    )
  }
  return new Layout(keyPrefix, stored)
}

/**
 * @throws `SCHEMA` unless the prefix is still as it was when it was connected to.
 */
export async function checkSchema(
  connection: Connection,
  { keyPrefix }: CheckedOptions,
  { shards }: Layout,
): Promise<void> {
  if ((await describe(connection, keyPrefix, shards.length, false)) !== shards.length) {
    const message = `what was set up under the key prefix ${JSON.stringify(keyPrefix)} is gone or not the same`
    throw new BackendError('SCHEMA', message)
  }
}

/** Into how many shards a prefix is divided; null if it is not set up. */
async function describe(
  connection: Connection,
  keyPrefix: string,
  wanted: number,
  mayCreate: boolean,
): Promise<number | null> {
  const reply = (await connection.run(
    'set-up',
    [descriptionKey(keyPrefix)],
    [FORMAT, wanted, mayCreate ? '1' : ''],
  )) as (Buffer | null)[]
  const [format = '', shards = ''] = reply.map((value) => value?.toString() ?? '')
  if (format === '') return null
  if (Number(format) > FORMAT) {
    throw new BackendError(
      'SCHEMA',
      `what is stored has format ${format}, and only ${FORMAT} is known: it was set up by a newer version; upgrade. It was left untouched`,
    )
  }
  const count = Number(shards)
  if (Number(format) !== FORMAT || !Number.isInteger(count) || count < 1) {
    const message = `the key ${JSON.stringify(descriptionKey(keyPrefix))} is not ours; choose another keyPrefix`
    throw new BackendError('SCHEMA', message)
  }
  return count
}
