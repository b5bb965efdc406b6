import type { ClaimedTask, PendingTask, TaskOutcome } from '@sayiir/persistence-core'
import { expect, test } from 'vitest'
import { InMemoryBackend } from '../src/index.ts'
import { at, atTask, bytes, completed, forkOf, text } from './fixtures.ts'

const WORKER = { workerId: 'w', limit: 10, ttlMs: 60_000 }

/** Writes into everything that can be written into, as a caller who casts may. */
function scribble(value: unknown): void {
  if (value instanceof Uint8Array) value.fill(0x58)
  else if (value instanceof Map) {
    for (const entry of value.values()) scribble(entry)
    value.clear()
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, field] of Object.entries(value)) {
      scribble(field)
      if (typeof field !== 'object') Reflect.set(value, key, 'scribbled')
    }
    if (Array.isArray(value)) value.length = 0
  }
}

async function claimAll(backend: InMemoryBackend): Promise<ClaimedTask[]> {
  return backend.claimAvailableTasks(WORKER)
}

test('a claimed task, its branches and its head are the caller’s own', async () => {
  await using backend = new InMemoryBackend()
  const tasks: PendingTask[] = [{ taskId: 'x', tags: ['t'] }]
  await backend.saveSnapshot(at('i', forkOf(tasks), { traceParent: 'trace' }))
  const before = await backend.loadSnapshot('i')
  const [x] = await claimAll(backend)
  const claim = structuredClone(x!.claim)
  scribble(x)
  expect(await backend.loadSnapshot('i')).toEqual(before)
  await backend.commitTask({ claim, outcome: completed({ branch: null }, 'of x') })
  const [found] = await backend.findAvailableTasks(WORKER)
  expect(text(found!.branches.get('x')?.output)).toBe('of x')
  scribble(found)
  const [join] = await claimAll(backend)
  expect(text(join!.task.branches.get('x')?.output)).toBe('of x')
  scribble(join)
  const { state } = await backend.loadSnapshot('i')
  expect(text(state.completedTasks.get('x')?.output)).toBe('of x')
  expect(state).toMatchObject({
    position: { completedBranches: new Map([['x', { taskId: 'x', output: bytes('of x') }]]) },
  })
})

test('an outcome may be written into while it is committed, and a receipt afterwards', async () => {
  await using backend = new InMemoryBackend()
  await backend.saveSnapshot(atTask('i'))
  const [claimed] = await claimAll(backend)
  const outcome: TaskOutcome = completed(
    { position: { kind: 'at-task', taskId: 'b' }, tags: ['t'] },
    'of a',
  )
  const committing = backend.commitTask({
    claim: claimed!.claim,
    outcome,
    claimNext: { ttlMs: 60_000 },
  })
  scribble(outcome)
  const receipt = await committing
  expect(text(receipt.next?.task.input)).toBe('of a')
  const claim = structuredClone(claimed!.claim)
  scribble(receipt)
  const again = await backend.commitTask({ claim, outcome: { kind: 'failed', error: '' } })
  expect(again).toMatchObject({ revision: 2, status: 'in-progress' })
  expect(again.next?.task.tags).toEqual(['t'])
  expect(text(again.next?.task.input)).toBe('of a')
})

test('signals and events are copied', async () => {
  await using backend = new InMemoryBackend()
  await backend.saveSnapshot(atTask('i'))
  const payload = bytes('event')
  const sending = backend.sendEvent('i', 's', payload)
  scribble(payload)
  await sending
  await backend.storeSignal('i', 'pause', { reason: 'why' })
  scribble(await backend.getSignal('i', 'pause'))
  expect(await backend.getSignal('i', 'pause')).toMatchObject({ reason: 'why' })
  expect(text(await backend.consumeEvent('i', 's'))).toBe('event')
})

test('what is handed out is a plain Uint8Array, never a view of a larger buffer', async () => {
  await using backend = new InMemoryBackend()
  await backend.saveSnapshot(atTask('i', 'a', { initialInput: Buffer.from('pooled') }))
  const { initialInput } = await backend.loadSnapshot('i')
  expect(initialInput).toEqual(bytes('pooled'))
  expect(initialInput?.buffer.byteLength).toBe(6)
})
