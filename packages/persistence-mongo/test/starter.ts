import { once } from 'node:events'
import { connect } from './process.ts'

/** Connects when it is told to, so that many do at once; ends with 0 if all went well. */
process.send?.('ready')
await once(process, 'message')
const backend = await connect((process.env.SAYIIR_TEST_PREFIX ?? '').slice(0, -1))
await backend.checkHealth()
await backend.close()
process.disconnect()
