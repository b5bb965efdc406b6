import type { Place } from '@sayiir/bench'
import { MongoBackend } from '@sayiir/persistence-mongo'
import { MongoClient } from 'mongodb'

/** Where the benchmark's collections are. */
export const DATABASE = 'sayiir_bench'

/** With the driver's own pool, as users have it: a commit may have the next claim beside it. */
export function connect({ url, namespace }: Place): Promise<MongoBackend> {
  return MongoBackend.connect({ url, database: DATABASE, collectionPrefix: `${namespace}_` })
}

export async function drop({ url, namespace }: Place): Promise<void> {
  await using client = new MongoClient(url)
  const db = client.db(DATABASE)
  for (const name of ['instances', 'parts', 'meta']) await db.dropCollection(`${namespace}_${name}`)
}

/** Copies an instance's document, which is faster than saving a million. */
export async function clone({ url, namespace }: Place, id: string, count: number): Promise<void> {
  await using client = new MongoClient(url)
  const instances = client.db(DATABASE).collection<{ _id: string }>(`${namespace}_instances`)
  const doc = await instances.findOne({ _id: id })
  if (doc === null) throw new Error(`there is no ${id}`)
  for (let from = 1; from <= count; from += 1000) {
    const copies = Array.from({ length: Math.min(1000, count - from + 1) }, (_, index) => ({
      ...doc,
      _id: `${id}-${(from + index).toString().padStart(7, '0')}`,
      g: crypto.randomUUID(),
    }))
    await instances.insertMany(copies)
  }
}
