import type { Client } from './client.ts'
import { bytes } from './records.ts'

const READ = `SELECT encode(e.payload, 'hex') FROM {s}.instance i JOIN {s}.event e ON e.instance_key = i.key
  WHERE i.id = $1::text AND e.signal_name = $2::text AND e.payload IS NOT NULL ORDER BY e.id LIMIT 1`

const TAKE = "SELECT encode({s}.take_event($1::text, $2::text), 'hex')"

/** Queued events. */
export class EventStore {
  readonly #client: Client

  constructor(client: Client) {
    this.#client = client
  }

  async readEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    const [row = []] = await this.#client.query(READ, [instanceId, signalName])
    return bytes(row, 0)
  }

  async takeEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    const [row = []] = await this.#client.query(TAKE, [instanceId, signalName])
    return bytes(row, 0)
  }
}
