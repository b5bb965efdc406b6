import { createSnapshot } from '@sayiir/persistence-core'
import { MongoBackend } from '@sayiir/persistence-mongo'
import { type CommandStartedEvent, type Document, MongoClient } from 'mongodb'
import { expect, test } from 'vitest'
import { TestCollections } from './collections.ts'

/** What a plan says that it does. */
function stagesOf(plan: unknown): string[] {
  if (Array.isArray(plan)) return plan.flatMap(stagesOf)
  if (typeof plan !== 'object' || plan === null) return []
  const { stage, ...rest } = plan as { stage?: unknown }
  return [...(typeof stage === 'string' ? [stage] : []), ...Object.values(rest).flatMap(stagesOf)]
}

const DISPATCH_COMMANDS: readonly string[] = ['find', 'findAndModify']

test('every query of dispatch is a range of an index, without a scan, and without a sort where the server can', async () => {
  await using t = new TestCollections()
  const client = await new MongoClient(t.url, { monitorCommands: true }).connect()
  const backend = await MongoBackend.fromClient(client, t.options)
  const position = { kind: 'at-task', taskId: 'a' } as const
  const many = Array.from({ length: 2000 }, (_, index) =>
    createSnapshot({
      instanceId: `i${index}`,
      definitionHash: `d${index % 3}`,
      position,
      priority: 1 + (index % 5),
      tags: index % 2 === 0 ? ['x'] : [],
    }),
  )
  await Promise.all(many.map((snapshot) => backend.saveSnapshot(snapshot)))
  const commands: Document[] = []
  client.on('commandStarted', ({ command, commandName }: CommandStartedEvent) => {
    if (!DISPATCH_COMMANDS.includes(commandName)) return
    if (command[commandName] === t.instances.collectionName) commands.push(command)
  })
  const worker = { workerId: 'w', ttlMs: 60_000 }
  await backend.claimAvailableTasks({ ...worker, limit: 1 })
  await backend.claimAvailableTasks({ ...worker, limit: 10 })
  await backend.claimAvailableTasks({ ...worker, limit: 10, tags: ['x'], definitionHashes: ['d1'] })
  await backend.findAvailableTasks({ workerId: 'w', limit: 10 })
  await backend.prune({ endedBefore: 1 })
  // Nothing for it yet: with change streams it asks when there will be.
  const wakeAt = Date.now() + 3_600_000
  const delay = { kind: 'at-delay', delayId: 'l', enteredAt: 0, wakeAt, nextTaskId: 'a' } as const
  await backend.saveSnapshot(
    createSnapshot({ instanceId: 'late', definitionHash: 'later', position: delay }),
  )
  await backend.waitForWakeup({ timeoutMs: 500, definitionHashes: ['later'] })
  expect(commands.length).toBeGreaterThan(5)
  for (const command of commands) {
    // Of a claim, how it finds what it changes: not every server explains the whole.
    const { find, findAndModify, filter, query, sort, limit } = command
    const explained = {
      find: find ?? findAndModify,
      filter: filter ?? query,
      ...(sort === undefined ? undefined : { sort }),
      limit: limit ?? 1,
    }
    const plan = await t.db.command({ explain: explained, verbosity: 'queryPlanner' })
    const winner = plan.queryPlanner?.winningPlan
    if (winner === undefined) {
      // FerretDB tells PostgreSQL's plan.
      expect(JSON.stringify(plan)).not.toContain('Seq Scan')
      continue
    }
    const stages = stagesOf(winner)
    expect(stages, JSON.stringify(explained)).not.toContain('COLLSCAN')
    expect(stages, JSON.stringify(explained)).not.toContain('SORT')
  }
  await backend.close()
  await client.close()
})

test('pruning of one status reads nothing that ended otherwise', async () => {
  await using t = new TestCollections()
  const client = await new MongoClient(t.url, { monitorCommands: true }).connect()
  const backend = await MongoBackend.fromClient(client, t.options)
  const position = { kind: 'at-task', taskId: 'a' } as const
  const ids = Array.from({ length: 60 }, (_, index) => `i${index}`)
  await Promise.all(
    ids.map((instanceId) =>
      backend.saveSnapshot(createSnapshot({ instanceId, definitionHash: 'd', position })),
    ),
  )
  const tasks = await backend.claimAvailableTasks({ workerId: 'w', limit: 60, ttlMs: 60_000 })
  expect(tasks).toHaveLength(60)
  const output = new Uint8Array([1])
  const completed = { kind: 'completed', output, next: { finalOutput: output } } as const
  const failed = { kind: 'failed', error: 'no' } as const
  await Promise.all(
    tasks.map(({ claim }, index) =>
      backend.commitTask({ claim, outcome: index < 3 ? failed : completed }),
    ),
  )
  const commands: Document[] = []
  client.on('commandStarted', ({ command, commandName }: CommandStartedEvent) => {
    if (commandName === 'find' && command.find === t.instances.collectionName)
      commands.push(command)
  })
  const endedBefore = Date.now() + 60_000
  const params = { endedBefore, statuses: ['failed'], dryRun: true } as const
  expect(await backend.prune(params)).toEqual({ deleted: 3, more: false })
  const [{ find, filter, projection, limit }] = commands as [Document]
  const plan = await t.db.command({
    explain: { find, filter, projection, limit },
    verbosity: 'executionStats',
  })
  if (plan.executionStats === undefined) {
    // FerretDB tells PostgreSQL's plan: nothing is left to be filtered out of the range.
    const text = JSON.stringify(plan.queryPlanner)
    expect(text).toMatch(/"Index Name":"care"/)
    expect(text).not.toMatch(/"Filter"/)
  } else {
    expect(plan.executionStats.totalKeysExamined).toBeLessThanOrEqual(4)
    expect(plan.executionStats.totalDocsExamined).toBe(3)
  }
  expect(await backend.prune({ endedBefore, statuses: ['failed'] })).toMatchObject({ deleted: 3 })
  const { byStatus } = await backend.stats()
  expect(byStatus).toMatchObject({ failed: 0, completed: 57 })
  await backend.close()
  await client.close()
})
