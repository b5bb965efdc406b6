import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { STORE_HELP } from './stores.ts'

/** What the demo is asked to do. */
export interface DemoOptions {
  /** Null: a temporary SQLite file. */
  readonly store: string | null
  readonly directory: string
  readonly workers: number
  readonly kill: boolean
}

/** The text of `--help`. */
export const HELP: string = `Durable workflows shared by several worker processes, one of which is killed.

A run for every file of a folder: read and hash it, compress it while its lines and words are
counted, join that into a report, wait, publish (which fails at first for some). One worker is
killed with SIGKILL in mid-task and one is frozen past the end of its claim; others take over.
Then every report is compared with a direct calculation.

Usage: npx -y pnpm@12 demo [options]

  --store STORE     ${STORE_HELP} (default: a temporary SQLite file)
  --dir FOLDER      whose files (default: this repository)
  --workers N       worker processes, 2 to 16 (default: 3); 1 with --no-kill
  --no-kill         let every worker live
  --help            this text
`

/** Reads the command line; null for `--help`. Throws an error that says what is wrong with it. */
export function parseOptions(args: readonly string[]): DemoOptions | null {
  const { values } = parseArgs({
    args: [...args],
    allowNegative: true,
    options: {
      store: { type: 'string' },
      dir: { type: 'string', default: resolve(import.meta.dirname, '../..') },
      workers: { type: 'string', default: '3' },
      kill: { type: 'boolean', default: true },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return null
  const store = values.store ?? null
  const isShared = store === null || !store.startsWith('memory:')
  const kill = values.kill && isShared
  const workers = Number(values.workers)
  const least = kill ? 2 : 1
  if (!Number.isInteger(workers) || workers < least || workers > 16) {
    throw new RangeError(
      `--workers must be a whole number from ${least} to 16, got ${values.workers}`,
    )
  }
  return { store, directory: resolve(values.dir), workers, kill }
}
