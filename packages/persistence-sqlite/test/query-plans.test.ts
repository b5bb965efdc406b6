import { DatabaseSync } from 'node:sqlite'
import { completeTask, createSnapshot, type Position } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { expect, test } from 'vitest'

/** Run through once for the whole of something, never for one instance or task. */
const WHOLE = [/GROUP BY status/, /SELECT count\(\*\)/, /FROM sqlite_schema/]

const LONG_MS = 600_000

test('every statement finds its rows in an index, and sorts nothing', async () => {
  const database = new DatabaseSync(':memory:')
  const statements = new Set<string>()
  const backend = await SqliteBackend.fromClient({
    exec: (sql) => database.exec(sql),
    close: () => database.close(),
    prepare: (sql) => {
      statements.add(sql)
      return database.prepare(sql)
    },
  })
  await useEverything(backend)
  const plans = [...statements]
    .filter((sql) => /^(SELECT|UPDATE|DELETE|INSERT)/.test(sql))
    .filter((sql) => !WHOLE.some((whole) => whole.test(sql)))
    .map((sql) => {
      const steps = database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all()
      return { sql, plan: steps.map(({ detail }) => String(detail)).join('\n') }
    })
  // Of what a dispatch, a commit and a heartbeat run, at least.
  expect(plans.length).toBeGreaterThan(35)
  const bad = plans.filter(
    ({ plan }) => /TEMP B-TREE|AUTOMATIC/.test(plan) || /^SCAN (?!CONSTANT ROW|\d)/m.test(plan),
  )
  expect(bad).toEqual([])
  database.close()
})

/** Calls that together run every statement of the hot paths. */
async function useEverything(backend: SqliteBackend): Promise<void> {
  const save = (instanceId: string, position: Position): Promise<unknown> =>
    backend.saveSnapshot(
      createSnapshot({
        instanceId,
        definitionHash: 'd',
        initialInput: new Uint8Array(1),
        position,
      }),
    )
  const output = new Uint8Array(1)
  const worker = { workerId: 'w', ttlMs: LONG_MS }
  await save('step', { kind: 'at-task', taskId: 'a' })
  await save('other', { kind: 'at-task', taskId: 'a' })
  await save('third', { kind: 'at-task', taskId: 'a' })
  await backend.findAvailableTasks({ workerId: 'w', limit: 10 })
  const [first] = await backend.claimAvailableTasks({
    ...worker,
    limit: 2,
    definitionHashes: ['d'],
  })
  const { claim } = first!
  await backend.renewTaskClaim(claim, LONG_MS)
  const commit = {
    claim,
    outcome: { kind: 'completed', output, next: { position: { kind: 'at-task', taskId: 'b' } } },
    claimNext: worker,
  } as const
  const { next } = await backend.commitTask(commit)
  await backend.commitTask(commit)
  await backend.releaseTaskClaim(next!.claim)
  await backend.claimTask({ instanceId: 'third', taskId: 'a', ...worker })
  const loaded = await backend.loadSnapshot(claim.instanceId)
  await backend.saveSnapshot(completeTask(completeTask(loaded, 'x', output), 'y', output))
  await backend.saveSnapshot(loaded)
  await backend.saveTaskResult({ instanceId: 'other', taskId: 'x', output })
  await backend.saveTaskResult({ instanceId: 'other', taskId: 'x', output })
  await backend.loadTaskResult('other', 'x')
  await backend.storeSignal('other', 'pause')
  await backend.getSignal('other', 'pause')
  await backend.clearSignal('other', 'pause')
  await backend.storeSignal('third', 'pause')
  await backend.checkControlSignals('third')
  await backend.unpause('third')
  await save('signal', {
    kind: 'at-signal',
    signalId: 's',
    signalName: 'n',
    wakeAt: null,
    nextTaskId: 'b',
  })
  await backend.sendEvent('signal', 'n', output, { eventId: 'e' })
  await backend.sendEvent('signal', 'n', output)
  await backend.consumeEvent('signal', 'n')
  await save('delay', { kind: 'at-delay', delayId: 's', enteredAt: 1, wakeAt: 2, nextTaskId: null })
  await backend.storeSignal('signal', 'cancel')
  await backend.waitForWakeup({ timeoutMs: 0 })
  await backend.waitForWakeup({ timeoutMs: 0, definitionHashes: [] })
  for await (const _ of backend.listSnapshots({ after: 'a' })) break
  for await (const _ of backend.listSnapshots({ prefix: 's' })) break
  await backend.stats()
  await backend.prune({ endedBefore: 1 })
  await backend.deleteSnapshot('delay')
}
