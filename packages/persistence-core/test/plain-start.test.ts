import { expect, test } from 'vitest'
import {
  type CreateSnapshotParams,
  createSnapshot,
  type Position,
  type WorkflowSnapshot,
} from '../src/index.ts'
import { InstanceEdit } from '../src/optimistic/instance-edit.ts'
import { plainStart } from '../src/optimistic/plain-start.ts'
import { toHead } from '../src/snapshot.ts'

const NOW = Date.UTC(2030, 0)
const nothing = { readOutputs: async () => null, readEvent: async () => null }
const position: Position = { kind: 'at-task', taskId: 'a' }
const result = { taskId: 'z', output: new Uint8Array([1]) }

function fresh(changes: Partial<CreateSnapshotParams> = {}): WorkflowSnapshot {
  return createSnapshot({ instanceId: 'i', definitionHash: 'd', position, ...changes })
}

test.each([
  ['alone', fresh()],
  ['with an input', fresh({ initialInput: new Uint8Array([1, 2]) })],
  ['with a priority and tags', fresh({ priority: 1, tags: ['x', 'y'] })],
  [
    'with all that an engine keeps',
    {
      ...fresh({
        deadline: { taskId: 'a', deadlineAt: NOW + 5, timeoutMs: 5 },
        traceParent: 'trace',
      }),
      loopIterations: new Map([['loop', 2]]),
    },
  ],
  [
    'after a task whose output is not there',
    {
      ...fresh(),
      state: {
        status: 'in-progress',
        position,
        lastCompletedTaskId: 'z',
        completedTasks: new Map(),
      },
    } satisfies WorkflowSnapshot,
  ],
])('a plain start is what the rules make of it: %s', (_, snapshot) => {
  const edit = InstanceEdit.create(nothing, toHead(snapshot), NOW)
  edit.noteStored(snapshot.state.completedTasks)
  edit.start()
  const plain = plainStart(snapshot, NOW)
  const generation = plain?.after.generation
  const write = edit.toWrite()
  expect(plain).toEqual({ ...write, plain: 'start', after: { ...write?.after, generation } })
})

test.each([
  [
    'a delay',
    fresh({
      position: { kind: 'at-delay', delayId: 'a', enteredAt: 1, wakeAt: 2, nextTaskId: null },
    }),
  ],
  ['not started', fresh({ position: { kind: 'not-started' } })],
  [
    'outputs',
    {
      ...fresh(),
      state: {
        status: 'in-progress',
        position,
        lastCompletedTaskId: 'z',
        completedTasks: new Map([['z', result]]),
      },
    } satisfies WorkflowSnapshot,
  ],
  [
    'a retry',
    {
      ...fresh(),
      retries: new Map([
        ['a', { attempts: 1, lastError: 'no', lastFailedWorker: null, nextRetryAt: NOW }],
      ]),
    },
  ],
  [
    'the end',
    {
      ...fresh(),
      state: { status: 'failed', error: 'no', completedTasks: new Map() },
    } satisfies WorkflowSnapshot,
  ],
])('what has more to it is not a plain start: %s', (_, snapshot) => {
  expect(plainStart(snapshot, NOW)).toBeNull()
})
