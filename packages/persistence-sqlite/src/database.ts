/** A value as it is bound to a statement. */
export type SqlValue = string | number | Uint8Array | null

/** What is used of a prepared statement. */
export interface SqliteStatement {
  run(...values: SqlValue[]): { changes: number | bigint }
  get(...values: SqlValue[]): unknown
  all(...values: SqlValue[]): unknown[]
  setReadBigInts(enabled: boolean): void
  /** Of newer versions of Node. */
  setReturnArrays?(enabled: boolean): void
}

/** What is used of a `DatabaseSync` of `node:sqlite`. */
export interface SqliteDatabase {
  exec(sql: string): void
  prepare(sql: string): SqliteStatement
  close(): void
}

/**
 * Runs statements, each prepared once. Names in braces are tables and indexes of the backend:
 * `{task}` becomes `"sayiir_task"`. Values are bound to plain `?`: Node 22 takes `?1` for a name.
 */
export class Connection {
  readonly #database: SqliteDatabase
  readonly #prefix: string
  readonly #statements = new Map<string, SqliteStatement>()
  /** Writing statements so far: tells whether a failed operation left something behind. */
  writes = 0

  constructor(database: SqliteDatabase, prefix: string) {
    this.#database = database
    this.#prefix = prefix
  }

  /** The statement's text with the tables' real names. */
  expand(sql: string): string {
    return sql.replace(/\{(\w+)\}/g, (_, name: string) => `"${this.#prefix}${name}"`)
  }

  /** The first row, or undefined. The caller names its columns. */
  get<Row>(sql: string, ...values: SqlValue[]): Row | undefined {
    return this.#statement(sql).get(...values) as Row | undefined
  }

  /** Every row. */
  all<Row>(sql: string, ...values: SqlValue[]): Row[] {
    return this.#statement(sql).all(...values) as Row[]
  }

  /** Runs a statement that writes; the number of rows that it changed. */
  run(sql: string, ...values: SqlValue[]): number {
    this.writes += 1
    return this.#statement(sql).run(...values).changes as number
  }

  /** Runs statements that are not kept: pragmas, migrations. */
  exec(sql: string): void {
    this.#database.exec(this.expand(sql))
  }

  /** Begins, commits, rolls back. */
  control(sql: 'BEGIN' | 'BEGIN IMMEDIATE' | 'COMMIT' | 'ROLLBACK'): void {
    this.#statement(sql).run()
  }

  /** Ends a transaction, if SQLite has not done so itself. */
  rollback(): void {
    try {
      this.control('ROLLBACK')
    } catch {
      // A full disk and the like have rolled back already.
    }
  }

  /** Closes the database. */
  close(): void {
    this.#statements.clear()
    this.#database.close()
  }

  #statement(sql: string): SqliteStatement {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#database.prepare(this.expand(sql))
      // A borrowed database may have been opened with other defaults.
      statement.setReadBigInts(false)
      statement.setReturnArrays?.(false)
      this.#statements.set(sql, statement)
    }
    return statement
  }
}
