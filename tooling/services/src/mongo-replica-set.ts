import { setTimeout as sleep } from 'node:timers/promises'
import { ending } from './ending.ts'
import { ServiceError } from './service.ts'

const formMs = 30_000

/** Makes a server the only member of a replica set, unless it is, and waits until it is primary. */
export async function formReplicaSet(url: string): Promise<void> {
  const { MongoClient, MongoServerError } = await import('mongodb')
  const client = new MongoClient(url)
  try {
    const admin = client.db('admin')
    const members = [{ _id: 0, host: '127.0.0.1:27017' }]
    await admin.command({ replSetInitiate: { _id: 'rs0', members } }).catch((error) => {
      if (!(error instanceof MongoServerError && error.codeName === 'AlreadyInitialized'))
        throw error
    })
    const deadline = Date.now() + formMs
    while (!(await admin.command({ hello: 1 })).isWritablePrimary) {
      if (Date.now() > deadline) throw new ServiceError(`no primary after ${formMs / 1_000} s`)
      await sleep(50, undefined, { signal: ending.signal })
    }
  } finally {
    await client.close()
  }
}
