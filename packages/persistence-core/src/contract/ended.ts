import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { WorkflowSnapshot } from '../snapshot.ts'
import { cancelWorkflow, completeWorkflow, failWorkflow } from '../transitions.ts'
import { bytes, type ContractTest, failure, rule, settle } from './context.ts'
import { atTask, claim, completed, found, toTask } from './fixtures.ts'
import { marked, markOf, unchanged } from './stored.ts'

/** Rule S4: what has ended stays as it is. */
export const endedTests: readonly ContractTest[] = [
  rule(
    'S4',
    'an ended instance refuses saves, results and commits, and does not change',
    async (t) => {
      const backend = await t.open()
      const endings = [
        (open: WorkflowSnapshot) => completeWorkflow(open, bytes('out')),
        (open: WorkflowSnapshot) => failWorkflow(open, 'boom'),
        (open: WorkflowSnapshot) => cancelWorkflow(open, { at: 1 }),
      ]
      for (const [index, end] of endings.entries()) {
        const instanceId = `i-${index}`
        const open = await backend.saveSnapshot(marked(atTask(instanceId), 'kept'))
        const held = await claim(backend, instanceId)
        const ended = await backend.saveSnapshot(end(open))
        const { revision } = ended
        for (const snapshot of [open, ended, atTask(instanceId), end(atTask(instanceId))]) {
          await failure(backend.saveSnapshot(snapshot), 'TERMINAL')
          await failure(backend.saveSnapshot(snapshot, { expectedRevision: revision }), 'TERMINAL')
          await failure(backend.saveSnapshot(snapshot, { expectedRevision: 0 }), 'TERMINAL')
          await failure(backend.saveSnapshot(snapshot, { claim: held }), 'TERMINAL')
        }
        const output = bytes('late')
        await failure(backend.saveTaskResult({ instanceId, taskId: 'mark', output }), 'TERMINAL')
        await failure(
          backend.saveTaskResult({ instanceId, taskId: 'a', output, claim: held }),
          'TERMINAL',
        )
        const outcome = completed('late', toTask('b'))
        await failure(backend.commitTask({ claim: held, outcome }), 'TERMINAL')
        await failure(
          backend.commitTask({ claim: held, outcome: { kind: 'failed', error: 'late' } }),
          'TERMINAL',
        )
        await unchanged(backend, ended)
        expect(await found(backend)).toEqual([])
      }
    },
  ),

  rule('S4', 'only delete and create start an ended instance anew, at revision 1', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const ended = await backend.saveSnapshot(failWorkflow(marked(atTask('i'), 'old'), 'boom'))
    await backend.deleteSnapshot('i')
    await t.elapse(2)
    const fresh = await backend.saveSnapshot(atTask('i'), { expectedRevision: 0 })
    expect(fresh.revision).toBe(1)
    expect(fresh.createdAt).toBeGreaterThan(ended.createdAt)
    expect(await markOf(backend, 'i')).toBeNull()
    expect(await found(backend)).toEqual(['i/a'])
  }),

  rule('S4', 'of a save and an ending that race, nothing lands after the ending', async (t) => {
    const backends = await t.openMany(4)
    const [first] = backends as [PersistentBackend]
    await first.saveSnapshot(atTask('i'))
    const outcomes = await settle(
      Array.from({ length: 20 }, async (_, index) => {
        const backend = backends[index % 4] as PersistentBackend
        const open = marked(atTask('i'), `${index}`)
        return (await backend.saveSnapshot(index === 9 ? failWorkflow(open, 'end') : open)).revision
      }),
    )
    const last = await first.loadSnapshot('i')
    expect(last.state.status).toBe('failed')
    expect(outcomes[9]).toBe(last.revision)
    const landed = outcomes.filter((outcome) => typeof outcome === 'number')
    expect(landed.length).toBe(last.revision - 1)
    expect(outcomes.filter((outcome) => outcome === 'TERMINAL')).toHaveLength(20 - landed.length)
    expect(await markOf(first, 'i')).toBe('9')
  }),
]
