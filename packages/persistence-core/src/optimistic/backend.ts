import type { BackendOptions } from '../backend.ts'
import { checkBackendOptions } from '../check.ts'
import { CheckedBackend } from '../checked-backend.ts'
import type { CheckedCalls } from '../checked-calls.ts'
import { Session, type SessionOptions } from './session.ts'
import { OptimisticSignalStore } from './signal-store.ts'
import { OptimisticSnapshotStore } from './snapshot-store.ts'
import type { OptimisticStore } from './store.ts'
import { OptimisticTaskClaimStore } from './task-claim-store.ts'
import { OptimisticTaskResultStore } from './task-result-store.ts'

/**
 * A whole backend on a store that keeps each instance in parts and can change it with a
 * compare-and-set: what a change comes to is worked out in this process by core's rules, and the
 * store writes it in one round trip, or refuses. An instance that a worker has claimed is known
 * here, so that its commit needs no read.
 *
 * What a store has to do stands at {@link OptimisticStore}; for one that is to be simple rather than
 * fast, see `BaseBackend`.
 */
export abstract class OptimisticBackend extends CheckedBackend {
  readonly #options: SessionOptions
  #made: CheckedCalls | null = null

  constructor(options: BackendOptions = {}) {
    const checked = checkBackendOptions(options)
    super(checked.maxPayloadBytes)
    this.#options = checked
  }

  protected abstract readonly store: OptimisticStore

  // Made late: `store` is a field of the class that extends this one.
  protected get calls(): CheckedCalls {
    this.#made ??= callsOf(new Session(this.store, this.lifecycle, this.#options))
    return this.#made
  }
}

function callsOf(session: Session): CheckedCalls {
  const { store } = session
  return {
    snapshots: new OptimisticSnapshotStore(session),
    results: new OptimisticTaskResultStore(session),
    signals: new OptimisticSignalStore(session),
    claims: new OptimisticTaskClaimStore(session),
    maintenance: store,
    disconnect: () => store.disconnect(),
  }
}
