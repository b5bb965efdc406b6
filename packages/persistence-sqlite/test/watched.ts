import type { DatabaseSync } from 'node:sqlite'
import type { SqliteDatabase, SqlValue } from '@sayiir/persistence-sqlite'

/** A database that tells of each statement before it runs; what that throws, the statement throws. */
export function watched(
  database: DatabaseSync,
  before: (sql: string, values: readonly SqlValue[]) => void,
): SqliteDatabase {
  return {
    exec: (sql) => database.exec(sql),
    close: () => database.close(),
    prepare: (sql) => {
      const statement = database.prepare(sql)
      const told =
        <T>(run: (...values: SqlValue[]) => T) =>
        (...values: SqlValue[]): T => {
          before(sql, values)
          return run(...values)
        }
      return {
        setReadBigInts: (enabled) => statement.setReadBigInts(enabled),
        run: told((...values) => statement.run(...values)),
        get: told((...values) => statement.get(...values)),
        all: told((...values) => statement.all(...values)),
      }
    },
  }
}
