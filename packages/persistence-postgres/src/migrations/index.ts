import { tables } from './0001-tables.ts'
import { dispatch } from './0002-dispatch.ts'
import { changes } from './0003-changes.ts'
import { maintenance } from './0004-maintenance.ts'
import { creation } from './0005-creation.ts'
import { commits } from './0006-commits.ts'
import { wakeup } from './0007-wakeup.ts'
import { comments } from './0008-comments.ts'

/** A step of the schema. */
export interface Migration {
  readonly name: string
  /** Statements, with `{s}` for the schema, quoted, and `{c}` for the channel. */
  readonly sql: string
}

/** In order; the version of a schema is how many of these it has had. */
export const MIGRATIONS: readonly Migration[] = [
  { name: '0001-tables', sql: tables },
  { name: '0002-dispatch', sql: dispatch },
  { name: '0003-changes', sql: changes },
  { name: '0004-maintenance', sql: maintenance },
  { name: '0005-creation', sql: creation },
  { name: '0006-commits', sql: commits },
  { name: '0007-wakeup', sql: wakeup },
  { name: '0008-comments', sql: comments },
]
