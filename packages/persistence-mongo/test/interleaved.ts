import type { Db, DbOptions, MongoClient } from 'mongodb'

/** What a backend uses of a client. */
interface Client {
  db(name: string, options?: DbOptions): Db
}

/**
 * A client that lets something happen between two commands of a backend.
 *
 * @param found Awaited after each search, before the backend gets what it has found: documents of the
 * collection whose name ends so.
 */
export function interleaved(
  client: MongoClient,
  collection: string,
  found: (docs: readonly { readonly _id: unknown }[]) => Promise<void>,
): Client {
  return {
    db: (name, options) => {
      const db = client.db(name, options)
      const open = db.collection.bind(db)
      db.collection = ((of: string) => {
        const opened = open(of)
        if (!of.endsWith(collection)) return opened
        const find = opened.find.bind(opened)
        opened.find = ((...wanted: Parameters<typeof find>) => {
          const cursor = find(...wanted)
          const toArray = cursor.toArray.bind(cursor)
          cursor.toArray = async () => {
            const docs = await toArray()
            await found(docs)
            return docs
          }
          return cursor
        }) as typeof opened.find
        return opened
      }) as typeof db.collection
      return db
    },
  }
}
