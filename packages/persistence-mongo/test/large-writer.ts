import { MongoBackend } from '@sayiir/persistence-mongo'
import { DATABASE, serverUrl } from './process.ts'

/** Saves an instance with more and more large outputs until it is killed. */
const backend = await MongoBackend.connect({
  url: serverUrl(),
  database: DATABASE,
  collectionPrefix: process.env.SAYIIR_TEST_PREFIX ?? '',
})
const snapshot = await backend.loadSnapshot('i')
await backend.saveSnapshot({ ...snapshot, initialInput: new Uint8Array(16 * 1024 * 1024) })
