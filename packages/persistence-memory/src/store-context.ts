import type { Lifecycle } from '@sayiir/persistence-core/adapter'
import type { Dispatch } from './dispatch.ts'
import type { Records } from './records.ts'
import type { Nudges } from './wakeup.ts'

/** What the parts of one backend share. */
export interface StoreContext {
  readonly records: Records
  readonly dispatch: Dispatch
  readonly lifecycle: Lifecycle
  readonly nudges: Nudges
  now(): number
}
