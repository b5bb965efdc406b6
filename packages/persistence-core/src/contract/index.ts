/**
 * The contract suite: one call from a vitest file proves that a backend keeps every rule.
 *
 * @module
 */
import { describe, expect, test } from 'vitest'
import { argumentTests } from './arguments.ts'
import { availableTaskTests } from './available-task.ts'
import { claimTests } from './claim.ts'
import { claimNextTests } from './claim-next.ts'
import { commitTests } from './commit.ts'
import { repeatedCommitTests } from './commit-repeat.ts'
import { concurrencyTests } from './concurrency.ts'
import { ContractContext, type ContractTest } from './context.ts'
import { deleteTests } from './delete.ts'
import { dispatchTests } from './dispatch.ts'
import { dispatchOrderTests } from './dispatch-order.ts'
import { endedTests } from './ended.ts'
import { eventTests } from './event.ts'
import { fencedSaveTests } from './fenced-save.ts'
import { forkTests } from './fork.ts'
import { forkBranchTests } from './fork-branch.ts'
import { handedOutTests } from './handed-out.ts'
import type { ContractHarness } from './harness.ts'
import { historyTests } from './history.ts'
import { lifecycleTests } from './lifecycle.ts'
import { lostClaimTests } from './lost-claim.ts'
import { maintenanceTests } from './maintenance.ts'
import { privilegeTests } from './privileges.ts'
import { processTests } from './processes.ts'
import { retryTests } from './retry.ts'
import { saveTests } from './save.ts'
import { signalApplyTests } from './signal-apply.ts'
import { signalEventTests } from './signal-event.ts'
import { signalStoreTests } from './signal-store.ts'
import { signalTimeoutTests } from './signal-timeout.ts'
import { snapshotListingTests } from './snapshot-listing.ts'
import { snapshotStoreTests } from './snapshot-store.ts'
import { taskClaimStoreTests } from './task-claim-store.ts'
import { taskResultStoreTests } from './task-result-store.ts'
import { timerTests } from './timer.ts'
import { twoObjectTests } from './two-objects.ts'
import { wakeupTests } from './wakeup.ts'

export type { ContractTest } from './context.ts'
export type { BorrowedClient, ContractHarness, LeastPrivileges } from './harness.ts'

/** Every test of the suite, by the noun that it is about. */
export const contractTests: Readonly<Record<string, readonly ContractTest[]>> = {
  'snapshot store': [
    ...snapshotStoreTests,
    ...snapshotListingTests,
    ...saveTests,
    ...fencedSaveTests,
    ...endedTests,
    ...deleteTests,
  ],
  'task result store': taskResultStoreTests,
  'task claim store': [...taskClaimStoreTests, ...claimTests, ...lostClaimTests],
  dispatch: [...dispatchTests, ...dispatchOrderTests, ...availableTaskTests, ...handedOutTests],
  commit: [...commitTests, ...claimNextTests, ...repeatedCommitTests, ...retryTests],
  wakeup: wakeupTests,
  concurrency: [...concurrencyTests, ...twoObjectTests],
  maintenance: maintenanceTests,
  lifecycle: [...lifecycleTests, ...privilegeTests],
  arguments: argumentTests,
  processes: processTests,
  fork: [...forkTests, ...forkBranchTests],
  timer: [...timerTests, ...signalTimeoutTests],
  event: [...eventTests, ...signalEventTests],
  'signal store': [...signalStoreTests, ...signalApplyTests],
  history: historyTests,
}

/**
 * Runs the whole suite on a backend. Call it once at the top level of a vitest file.
 *
 * @example
 * ```ts
 * import type { BackendOptions, PersistentBackend } from '@sayiir/persistence-core'
 * import { testBackendContract } from '@sayiir/persistence-core/contract'
 *
 * declare function connect(namespace: string, options?: BackendOptions): Promise<PersistentBackend>
 *
 * testBackendContract({
 *   name: 'my-backend',
 *   capabilities: { durable: true, shared: true, wakeups: 'poll', clock: 'store', order: 'global' },
 *   connect,
 * })
 * ```
 */
export function testBackendContract(harness: ContractHarness): void {
  describe(`${harness.name}: the persistence contract`, () => {
    for (const [noun, tests] of Object.entries(contractTests)) {
      describe(noun, () => {
        for (const { title, run, timeoutMs } of tests) {
          test(title, timeoutMs === undefined ? {} : { timeout: timeoutMs }, async () => {
            await using context = new ContractContext(harness)
            await run(context)
          })
        }
      })
    }
    test('says of itself what the harness says', async () => {
      await using context = new ContractContext(harness)
      const backend = await context.open()
      expect(backend.capabilities).toEqual(harness.capabilities)
    })
  })
}
