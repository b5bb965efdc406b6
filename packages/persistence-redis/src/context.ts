import type { Connection } from './connection.ts'
import type { Layout } from './layout.ts'
import type { CheckedOptions } from './options.ts'
import type { StoreClock } from './store-clock.ts'

/** What the parts of a store share. */
export interface StoreContext {
  readonly connection: Connection
  readonly layout: Layout
  readonly clock: StoreClock
  readonly options: CheckedOptions
}
