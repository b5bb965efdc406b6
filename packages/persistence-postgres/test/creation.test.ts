import type { WorkflowSnapshot } from '@sayiir/persistence-core'
import { PostgresBackend } from '@sayiir/persistence-postgres'
import { expect, inject, test } from 'vitest'
import { atTask, freshSchema } from './work.ts'

const { url } = inject('postgres')

/** Alike but for what is given: such are made by one statement of few texts. */
const started = (instanceId: string, parts: Partial<WorkflowSnapshot> = {}): WorkflowSnapshot => ({
  ...atTask(instanceId),
  ...parts,
})

test('of new instances that are made together each is as it was given', async () => {
  await using backend = await PostgresBackend.connect({ url, schema: freshSchema() })
  await backend.saveSnapshot(started('known'))
  const all = [
    started('plain', { initialInput: new Uint8Array([0, 1, 255]) }),
    started('without input'),
    started('empty input', { initialInput: new Uint8Array(0) }),
    started('-', { initialInput: new TextEncoder().encode('-') }),
    started('traced', { traceParent: 'a "trace" \\ of\u0001its own' }),
    started('quotes " and \\, {braces}'),
    started('deadline', { deadline: { taskId: 'a', deadlineAt: 4_000_000_000_000, timeoutMs: 7 } }),
  ]
  // An id with what stands between ids is not sent so.
  const apart = [started('first\u0001second'), started('third')]
  const sized = ['ab', 'cd', 'ef'].map((text) =>
    started(`same size ${text}`, { initialInput: new TextEncoder().encode(text) }),
  )
  const none = [started('none a'), started('none b')]
  const groups = [all, apart, sized, none]
  for (const together of groups) {
    const made = await Promise.all(together.map((snapshot) => backend.saveSnapshot(snapshot)))
    expect(made.map(({ revision }) => revision)).toEqual(together.map(() => 1))
  }
  for (const { instanceId, initialInput, traceParent, deadline } of groups.flat()) {
    expect(await backend.loadSnapshot(instanceId)).toMatchObject({
      ...{ instanceId, initialInput, traceParent, deadline },
      state: { status: 'in-progress', position: { kind: 'at-task', taskId: 'a' } },
    })
  }
})

test('one of new instances that is there already is saved over, and the others are made', async () => {
  const schema = freshSchema()
  await using backend = await PostgresBackend.connect({ url, schema })
  await using other = await PostgresBackend.connect({ url, schema })
  await other.saveSnapshot(started('b', { traceParent: 'first' }))
  const saved = await Promise.all(
    ['a', 'b', 'c'].map((instanceId) => backend.saveSnapshot(started(instanceId))),
  )
  expect(saved.map(({ revision }) => revision)).toEqual([1, 2, 1])
  const { byStatus, available } = await backend.stats()
  expect({ byStatus, available }).toMatchObject({ byStatus: { 'in-progress': 3 }, available: 3 })
})
