import type { Lifecycle, Nudge } from '@sayiir/persistence-core/adapter'
import type { Dispatch } from './dispatch.ts'
import type { Records } from './records.ts'

/** What the parts of one backend share. */
export interface StoreContext {
  readonly records: Records
  readonly dispatch: Dispatch
  readonly lifecycle: Lifecycle
  readonly nudge: Nudge
  now(): number
}
