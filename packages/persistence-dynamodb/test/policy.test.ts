import { readFile } from 'node:fs/promises'
import { DeleteTableCommand } from '@aws-sdk/client-dynamodb'
import { createSnapshot, type PersistentBackend } from '@sayiir/persistence-core'
import { expect, inject, onTestFinished, test } from 'vitest'
import { type HttpProxy, type SeenRequest, startHttpProxy } from './http-proxy.ts'
import { atTask, namespace, open } from './namespace.ts'
import { client, place } from './process.ts'

const LONG_MS = 600_000
const bytes = (length: number): Uint8Array => new Uint8Array(length)

/** The permissions that a request needs. */
function actionsOf({ operation, body }: SeenRequest): string[] {
  if (operation === 'TransactWriteItems') {
    const { TransactItems } = body as { TransactItems: Record<string, object>[] }
    return TransactItems.flatMap((item) => Object.keys(item).map((kind) => `${kind}Item`))
  }
  if (operation === 'BatchExecuteStatement') {
    const { Statements } = body as { Statements: { Statement: string }[] }
    return Statements.map(({ Statement }) =>
      Statement.startsWith('INSERT') ? 'PartiQLInsert' : 'PartiQLUpdate',
    )
  }
  return [operation]
}

function actions({ seen }: HttpProxy): string[] {
  return [...new Set(seen.flatMap(actionsOf))].map((name) => `dynamodb:${name}`).sort()
}

/** All that a backend is for, with payloads of every size. */
async function exercise(backend: PersistentBackend): Promise<void> {
  const outcome = {
    kind: 'completed',
    output: bytes(2000),
    next: { finalOutput: bytes(9) },
  } as const
  const definitionHashes = ['definition', 'd']
  const claimAll = () =>
    backend.claimAvailableTasks({ workerId: 'w', limit: 100, ttlMs: LONG_MS, definitionHashes })
  // So many at once that they can't but travel together.
  await Promise.all(
    Array.from({ length: 200 }, (_, index) =>
      backend.saveSnapshot({ ...atTask(`burst${index}`), definitionHash: 'burst' }),
    ),
  )
  const ids = Array.from({ length: 40 }, (_, index) => `i${index}`)
  await Promise.all(ids.map((id) => backend.saveSnapshot(atTask(id))))
  await backend.findAvailableTasks({ workerId: 'w', limit: 1 })
  const claimed = await claimAll()
  expect(claimed).toHaveLength(40)
  await Promise.all(claimed.map(({ claim }) => backend.renewTaskClaim(claim, LONG_MS)))
  const claimNext = { ttlMs: LONG_MS }
  for (const { claim } of claimed.slice(0, 2))
    await backend.commitTask({ claim, outcome, claimNext })
  await Promise.all(claimed.slice(2).map(({ claim }) => backend.commitTask({ claim, outcome })))
  await backend.saveSnapshot(
    createSnapshot({
      instanceId: 'fork',
      definitionHash: 'd',
      initialInput: bytes(1_000_000),
      position: {
        kind: 'at-fork',
        forkId: 'f',
        pendingTasks: [1, 2].map((priority) => ({ taskId: `t${priority}`, priority })),
        join: { taskId: 'j' },
        completedBranches: new Map(),
        wakeAt: null,
      },
    }),
  )
  for (const { claim } of await claimAll()) {
    const next = { branch: null }
    await backend.commitTask({ claim, outcome: { ...outcome, next } })
  }
  await backend.saveSnapshot(
    createSnapshot({
      instanceId: 'parked',
      definitionHash: 'd',
      position: {
        kind: 'at-signal',
        signalId: 's',
        signalName: 'go',
        wakeAt: null,
        nextTaskId: 'a',
      },
    }),
  )
  await backend.sendEvent('parked', 'later', bytes(100_000), { eventId: 'e' })
  await backend.sendEvent('parked', 'go', bytes(1))
  await backend.consumeEvent('parked', 'later')
  await backend.storeSignal('parked', 'pause')
  await backend.checkAndPause('parked')
  await backend.unpause('parked')
  await backend.saveTaskResult({ instanceId: 'parked', taskId: 'x', output: bytes(1) })
  await backend.loadTaskResult('parked', 'x')
  await backend.loadSnapshot('fork')
  await Array.fromAsync(backend.listSnapshots())
  await backend.waitForWakeup({ timeoutMs: 0 })
  await backend.stats()
  await backend.deleteSnapshot('fork')
  await backend.prune({ endedBefore: Date.now() + LONG_MS })
  await backend.checkHealth()
}

/** The policy that the README gives, and what it says beside it. */
async function documented(): Promise<{ readonly policy: string[]; readonly setUp: string[] }> {
  const text = await readFile(new URL('../README.md', import.meta.url), 'utf8')
  const [, json = ''] = /```json\n(\{\s*"Version"[^`]*)```/.exec(text) ?? []
  const { Statement } = JSON.parse(json) as { Statement: [{ Action: string[] }] }
  const [, also = ''] = /`createTable: true` also needs ([^.]*)\./.exec(text) ?? []
  const setUp = [...also.matchAll(/`(dynamodb:\w+)`/g)].map(([, name = '']) => name)
  return { policy: Statement[0].Action.toSorted(), setUp: setUp.sort() }
}

test('M5 the policy in the README names the actions that are used, and no other', async () => {
  const proxy = await startHttpProxy(inject('dynamodb').url)
  const tableName = namespace()
  const through = { ...place(proxy.url), tableName, keyPrefix: namespace() }
  onTestFinished(async () => {
    const admin = client(inject('dynamodb').url)
    await admin.send(new DeleteTableCommand({ TableName: tableName }))
    admin.destroy()
  })
  const { policy, setUp } = await documented()
  await (await open(through)).close()
  expect(actions(proxy).filter((name) => !policy.includes(name))).toEqual(setUp)
  proxy.seen.length = 0
  const backend = await open({ ...through, keyPrefix: namespace(), createTable: false })
  await exercise(backend)
  await backend.close()
  expect(actions(proxy)).toEqual(policy)
})

test('no request scans, and none is larger than the service takes', async () => {
  const proxy = await startHttpProxy(inject('dynamodb').url)
  const backend = await open({ ...place(proxy.url), keyPrefix: namespace() })
  await exercise(backend)
  for (const { operation, body } of proxy.seen) {
    expect(operation).not.toContain('Scan')
    const {
      TransactItems = [],
      Statements = [],
      RequestItems = {},
    } = body as {
      TransactItems?: unknown[]
      Statements?: unknown[]
      RequestItems?: Record<string, { Keys?: unknown[] } | unknown[]>
    }
    expect(TransactItems.length).toBeLessThanOrEqual(100)
    expect(Statements.length).toBeLessThanOrEqual(25)
    for (const requests of Object.values(RequestItems)) {
      const { length } = Array.isArray(requests) ? requests : (requests.Keys ?? [])
      expect(length).toBeLessThanOrEqual(Array.isArray(requests) ? 25 : 100)
    }
    // A transaction, or the items of a request, have 4 MB; base64 takes a third more.
    expect(JSON.stringify(body).length).toBeLessThan(4_000_000)
  }
})
