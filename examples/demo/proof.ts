import { deepStrictEqual } from 'node:assert'
import type { PersistentBackend } from '@sayiir/persistence-core'
import { calculateDirectly, decode, expectedRevision, instanceIdOf } from './workflow.ts'

/**
 * Compares every stored run with a direct calculation, and the number of its changes with what its
 * tasks require: one more, and something ran into it twice; one less, and something was lost.
 *
 * @returns what is wrong, a line each; nothing if all is right.
 */
export async function prove(
  backend: PersistentBackend,
  files: readonly string[],
  directory: string,
): Promise<string[]> {
  const wrong: string[] = []
  for (const path of files) {
    const { state, revision } = await backend.loadSnapshot(instanceIdOf(path))
    if (state.status !== 'completed') {
      wrong.push(
        `${path}: the run is ${state.status}${state.status === 'failed' ? `: ${state.error}` : ''}`,
      )
      continue
    }
    try {
      deepStrictEqual(decode(state.finalOutput), await calculateDirectly(path, directory))
    } catch {
      wrong.push(
        `${path}: the report differs from the direct calculation (did the file change meanwhile?)`,
      )
    }
    const outputs = [...state.completedTasks.keys()].sort().join(' ')
    if (outputs !== 'compress lines publish read report words')
      wrong.push(`${path}: outputs of ${outputs}`)
    const expected = expectedRevision(path)
    if (revision !== expected)
      wrong.push(`${path}: changed ${revision} times instead of ${expected}`)
  }
  return wrong
}
