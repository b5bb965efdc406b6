import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import { bytes, type ContractContext, type ContractTest, collect, rule, text } from './context.ts'
import { at, atFork, atTask, claim, completed, found, LONG_MS, toTask } from './fixtures.ts'
import { largeSnapshot } from './large-snapshot.ts'
import { type ProcessParams, runAtOnce, withProcesses } from './process.ts'
import type { Handled, JobName } from './process-worker.ts'
import { contentOf } from './stored.ts'

const PROCESSES = 3
/** Milliseconds that the claims of a process last that is killed. */
const HOLD_MS = 300
const STEPS = ['step-1', 'step-2', 'step-3']

/**
 * A test of several processes on one store. A backend that says that it is not shared is held to
 * that: it gives no module to start processes with.
 */
function race(
  id: string,
  title: string,
  run: (t: ContractContext, namespace: string, backend: PersistentBackend) => Promise<void>,
): ContractTest {
  return rule(
    id,
    `processes: ${title}`,
    async (t) => {
      if (!t.capabilities.shared) {
        expect(t.harness.processModule).toBeUndefined()
        return
      }
      const namespace = t.namespace()
      await run(t, namespace, await t.openOn(namespace))
    },
    { timeoutMs: 60_000 },
  )
}

/** The same job for each process, under names of their own. */
function each(
  namespace: string,
  job: JobName,
  params: Partial<ProcessParams> = {},
): ProcessParams[] {
  return Array.from({ length: PROCESSES }, (_, index) => ({
    namespace,
    job,
    workerId: `worker-${index + 1}`,
    ...params,
  }))
}

function nameOf({ instanceId, taskId }: Handled): string {
  return `${instanceId}/${taskId}`
}

/** What processes that share work rely on. */
export const processTests: readonly ContractTest[] = [
  race('C1', 'of racing claims on a task exactly one wins', async (t, namespace, backend) => {
    const instanceIds = Array.from({ length: 40 }, (_, index) => `i-${index}`)
    for (const id of instanceIds) await backend.saveSnapshot(atTask(id))
    const won = await runAtOnce<string[]>(t, each(namespace, 'race', { instanceIds }))
    expect(won.flat().sort()).toEqual(instanceIds.toSorted())
    expect(await backend.stats()).toMatchObject({ available: 0, claimed: 40 })
  }),

  race(
    'D5',
    'draining the same tasks does each once and loses none',
    async (t, namespace, backend) => {
      const instanceIds = Array.from({ length: 30 }, (_, index) => `i-${index}`)
      for (const id of instanceIds) await backend.saveSnapshot(atTask(id, 'step-1'))
      const handled = (await runAtOnce<Handled[]>(t, each(namespace, 'drain'))).flat()
      const expected = instanceIds.flatMap((id) => STEPS.map((step) => `${id}/${step}`))
      expect(handled.map(nameOf).sort()).toEqual(expected.sort())
      expect(handled.filter(({ deliveries }) => deliveries !== 1)).toEqual([])
      for (const id of instanceIds) {
        const { revision, state } = await backend.loadSnapshot(id)
        expect(state.status).toBe('completed')
        expect(revision).toBe(1 + STEPS.length)
        expect([...state.completedTasks.keys()]).toEqual(STEPS)
        for (const { taskId, output } of state.completedTasks.values()) {
          expect(text(output)).toBe(`${id}/${taskId}`)
        }
      }
    },
  ),

  race(
    'F2',
    'branches committed at the same moment lose nothing; the join runs once',
    async (t, namespace, backend) => {
      const branches = Array.from({ length: 9 }, (_, index) => `branch-${index}`)
      const instanceIds = Array.from({ length: 6 }, (_, index) => `i-${index}`)
      for (const id of instanceIds) await backend.saveSnapshot(atFork(id, branches))
      const handled = (await runAtOnce<Handled[]>(t, each(namespace, 'drain'))).flat()
      const expected = instanceIds.flatMap((id) =>
        [...branches, 'join'].map((task) => `${id}/${task}`),
      )
      expect(handled.map(nameOf).sort()).toEqual(expected.sort())
      for (const id of instanceIds) {
        const { revision, state } = await backend.loadSnapshot(id)
        // The join was given every branch's result.
        expect(state.status === 'completed' && text(state.finalOutput)).toBe(branches.join())
        expect([...state.completedTasks.keys()].sort()).toEqual([...branches, 'join'])
        expect(revision).toBe(1 + branches.length + 1)
      }
    },
  ),

  race('M4', 'cold starts on an empty store set it up once, with no error', async (t) => {
    const namespace = t.namespace()
    const revisions = await runAtOnce<number>(t, each(namespace, 'create', { cold: true }))
    expect(revisions).toEqual([1, 1, 1])
    const backend = await t.openOn(namespace)
    await backend.checkHealth()
    const listed = (await collect(backend.listSnapshots())).map(({ instanceId }) => instanceId)
    expect(listed).toEqual(['of worker-1', 'of worker-2', 'of worker-3'])
  }),

  race(
    'C2',
    'what a killed process had claimed goes to others once it expires',
    async (t, namespace, backend) => {
      const instanceIds = Array.from({ length: 30 }, (_, index) => `i-${index}`)
      for (const id of instanceIds) await backend.saveSnapshot(atTask(id, 'step-3'))
      const killed = { namespace, job: 'hold', workerId: 'killed', ttlMs: HOLD_MS } as const
      const held = await withProcesses(t, [killed], async ([worker]) => {
        worker?.begin()
        const first = await worker?.report<Handled[]>()
        // In the middle of its next claims.
        await worker?.kill()
        return [...(first ?? []), ...(worker?.takeReports<Handled[]>() ?? []).flat()]
      })
      expect(held.length).toBeGreaterThan(0)
      await t.elapse(HOLD_MS)
      const handled = (await runAtOnce<Handled[]>(t, each(namespace, 'drain'))).flat()
      expect(handled.map(nameOf).sort()).toEqual(instanceIds.map((id) => `${id}/step-3`).sort())
      for (const { instanceId, token } of held) {
        const taken = handled.find((one) => one.instanceId === instanceId)
        expect(taken?.token).toBeGreaterThan(token)
        expect(taken?.deliveries).toBeGreaterThan(1)
      }
    },
  ),

  race(
    'C2',
    'the claim of a killed process stays live until then, and is still its worker’s',
    async (t, namespace, backend) => {
      for (const id of ['a', 'b']) await backend.saveSnapshot(atTask(id, 'step-1'))
      const killed = { namespace, job: 'hold', workerId: 'killed', ttlMs: LONG_MS } as const
      const held = await withProcesses(t, [killed], async ([worker]) => {
        worker?.begin()
        const report = await worker?.report<Handled[]>()
        await worker?.kill()
        return report ?? []
      })
      expect(held.map(nameOf).sort()).toEqual(['a/step-1', 'b/step-1'])
      expect(await found(backend)).toEqual([])
      for (const { instanceId, taskId, token } of held) {
        expect(
          await backend.claimTask({ instanceId, taskId, workerId: 'other', ttlMs: LONG_MS }),
        ).toBeNull()
        // A restarted worker, which kept its claims' names, goes on.
        await backend.commitTask({
          claim: { instanceId, taskId, workerId: 'killed', token },
          outcome: completed('out', toTask('step-2')),
        })
      }
      expect((await found(backend)).sort()).toEqual(['a/step-2', 'b/step-2'])
    },
  ),

  race(
    'C3',
    'tokens grow through processes, releases, commits and deletions',
    async (t, namespace, backend) => {
      const instanceIds = ['i', 'i']
      await backend.saveSnapshot(atTask('i'))
      const seen = [(await claim(backend, 'i', 'a')).token]
      await backend.releaseTaskClaim({ instanceId: 'i', taskId: 'a', workerId: 'worker-1' })
      for (const workerId of ['first', 'second']) {
        const params = { namespace, job: 'tokens', workerId, instanceIds } as const
        seen.push(...((await runAtOnce<number[]>(t, [params]))[0] ?? []))
        seen.push((await claim(backend, 'i', 'a')).token)
        await backend.deleteSnapshot('i')
        await backend.saveSnapshot(atTask('i'))
      }
      expect(seen).toHaveLength(15)
      expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b))
    },
  ),

  race(
    'S5',
    'a writer killed in mid-save leaves one whole version, no older than it was told',
    async (t, namespace, backend) => {
      const instanceIds = ['i', 'j', 'k']
      const params = { namespace, job: 'overwrite', workerId: 'killed', instanceIds } as const
      type Acknowledged = { instanceId: string; version: number; revision: number }
      const acknowledged = await withProcesses(t, [params], async ([worker]) => {
        worker?.begin()
        const reports: Acknowledged[] = []
        while (
          new Set(reports.map(({ instanceId }) => instanceId)).size < 3 ||
          reports.length < 10
        ) {
          reports.push((await worker?.report<Acknowledged>()) as Acknowledged)
        }
        await worker?.kill()
        return [...reports, ...(worker?.takeReports<Acknowledged>() ?? [])]
      })
      for (const id of instanceIds) {
        const told = acknowledged.filter(({ instanceId }) => instanceId === id)
        const last = Math.max(...told.map(({ version }) => version))
        // What the writer sent last may still land, once: then both are looked at again.
        for (let looks = 1; ; looks += 1) {
          const loaded = await backend.loadSnapshot(id)
          expect(loaded.revision).toBeGreaterThanOrEqual(last)
          expect(contentOf(loaded)).toEqual(contentOf(largeSnapshot(id, loaded.revision)))
          const tasks = await found(backend)
          const { revision } = await backend.loadSnapshot(id)
          if (revision !== loaded.revision && looks < 3) continue
          expect(tasks).toContain(`${id}/version-${revision}`)
          break
        }
      }
    },
  ),

  race(
    'M2',
    'a process ends by itself once its backend is closed, whatever still waited',
    async (t, namespace, backend) => {
      await backend.saveSnapshot(at('i', { kind: 'not-started' }, { initialInput: bytes('x') }))
      // `result` waits for the end of the process.
      expect(await runAtOnce<boolean>(t, each(namespace, 'wait').slice(0, 1))).toEqual([true])
    },
  ),
]
