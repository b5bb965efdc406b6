import { expect, test } from 'vitest'
import type { CommitTaskParams, Next, Position, TaskOutcome } from '../src/index.ts'
import { InstanceEdit } from '../src/optimistic/instance-edit.ts'
import { plainCommit } from '../src/optimistic/plain-commit.ts'
import type { StoredInstance } from '../src/optimistic/store.ts'
import { applyOutcome } from '../src/outcome.ts'

const NOW = Date.UTC(2030, 0)
const nothing = { readOutputs: async () => null, readEvent: async () => null }

function stored(changes: Partial<StoredInstance['head']> = {}, deliveries = 1): StoredInstance {
  const claim = { workerId: 'w', token: 7, claimedAt: NOW - 50, expiresAt: NOW + 1000 }
  return {
    generation: 'g',
    version: 5,
    head: {
      instanceId: 'i',
      definitionHash: 'd',
      revision: 5,
      createdAt: NOW - 1000,
      updatedAt: NOW - 100,
      initialInput: new Uint8Array([1]),
      state: {
        status: 'in-progress',
        position: { kind: 'at-task', taskId: 'a' },
        lastCompletedTaskId: 'z',
      },
      priority: 2,
      tags: ['t'],
      deadline: { taskId: 'a', deadlineAt: NOW + 5, timeoutMs: 9 },
      retries: new Map(),
      loopIterations: new Map([['loop', 3]]),
      traceParent: 'trace',
      ...changes,
    },
    entries: [
      {
        taskId: 'a',
        priority: 2,
        tags: ['t'],
        attempt: 1,
        lastFailedWorker: null,
        availableSince: NOW - 100,
        inputTaskId: 'z',
        deliveries,
        timer: false,
        claim,
      },
    ],
    cancel: null,
    pause: null,
    queuedEvents: 2,
  }
}

function commit(next: Next, more: Partial<CommitTaskParams> = {}): CommitTaskParams {
  const claim = { instanceId: 'i', taskId: 'a', workerId: 'w', token: 7 }
  return { claim, outcome: { kind: 'completed', output: new Uint8Array([2]), next }, ...more }
}

const at = (taskId: string): Position & { kind: 'at-task' } => ({ kind: 'at-task', taskId })
const deadline = { taskId: 'b', deadlineAt: NOW + 50, timeoutMs: 50 }

const plain: readonly (readonly [string, StoredInstance, CommitTaskParams])[] = [
  ['on to a task', stored(), commit({ position: at('b') })],
  [
    'without a token',
    stored(),
    commit({ position: at('b') }, { claim: { instanceId: 'i', taskId: 'a', workerId: 'w' } }),
  ],
  [
    'with options',
    stored(),
    commit({ position: at('b'), priority: 5, tags: ['x', 'y'], deadline }),
  ],
  ['the end', stored(), commit({ finalOutput: new Uint8Array([3]) })],
  ['and the next, its own', stored(), commit({ position: at('b') }, { claimNext: { ttlMs: 10 } })],
  [
    'and the next, not for its tags',
    stored(),
    commit({ position: at('b'), tags: ['x'] }, { claimNext: { ttlMs: null, tags: [] } }),
  ],
  [
    'and the next, not of its definition',
    stored(),
    commit({ position: at('b') }, { claimNext: { ttlMs: 10, definitionHashes: ['e'] } }),
  ],
  [
    'and the next after the end',
    stored(),
    commit({ finalOutput: new Uint8Array() }, { claimNext: { ttlMs: 1 } }),
  ],
  ['written in the future', stored({ updatedAt: NOW + 100 }), commit({ position: at('b') })],
  [
    'written after the clock was set back',
    stored({ updatedAt: NOW + 5000 }),
    commit({ position: at('b') }),
  ],
]

test.each(plain)('a plain commit is what the rules make of it: %s', async (_, before, params) => {
  const { claim, outcome, claimNext } = params
  const edit = InstanceEdit.of(nothing, before, NOW)
  const { token } = edit.mustHold(claim)
  edit.putResult({
    taskId: 'a',
    output: outcome.kind === 'completed' ? outcome.output : new Uint8Array(),
  })
  await edit.change(applyOutcome(edit.head, claim, outcome, edit.at), { completed: 'a' })
  const { revision, state } = edit.head
  const write = plainCommit(before, NOW, params)
  const general = edit.toWrite({
    holds: { ...claim, token },
    commit: { taskId: 'a', workerId: 'w', token: 7, revision, status: state.status },
    claimNext: write?.claimNext ?? null,
  })
  expect(write).toEqual({ ...general, plain: 'commit' })
  const { ttlMs = 0, ...filter } = claimNext ?? {}
  const request = { filter, workerId: 'w', ttlMs, limit: 1 }
  expect(write?.claimNext?.request).toEqual(claimNext && request)
})

test('the next task is claimed with a plain commit where the worker serves it', () => {
  const own = plain.map(([, before, params]) => plainCommit(before, NOW, params)?.claimNext?.own)
  expect(own).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
    'b',
    null,
    null,
    null,
    undefined,
    undefined,
  ])
})

const failed: TaskOutcome = { kind: 'failed', error: 'no' }
const retry = { attempts: 1, lastError: 'e', lastFailedWorker: 'w', nextRetryAt: 0 }
const held = commit({ position: at('b') })
const other: readonly (readonly [string, StoredInstance, CommitTaskParams])[] = [
  ['the same task again', stored(), commit({ position: at('a') })],
  [
    'a delay',
    stored(),
    commit({ position: { kind: 'at-delay', delayId: 'd', delayMs: 1, nextTaskId: null } }),
  ],
  ['a branch', stored(), commit({ branch: null })],
  ['a failure', stored(), { ...held, outcome: failed }],
  ['a claim of another', stored(), { ...held, claim: { ...held.claim, token: 6 } }],
  ['a task that failed', stored({ retries: new Map([['a', retry]]) }), held],
  [
    'a pending cancel',
    { ...stored(), cancel: { kind: 'cancel', reason: null, requestedBy: null, requestedAt: 1 } },
    held,
  ],
  [
    'a pending pause',
    { ...stored(), pause: { kind: 'pause', reason: null, requestedBy: null, requestedAt: 1 } },
    held,
  ],
  ['one of several', { ...stored(), entries: [...stored().entries, ...stored().entries] }, held],
  ['nothing claimed', { ...stored(), entries: [] }, held],
]

test.each(other)('a commit is not plain: %s', (_, before, params) => {
  expect(plainCommit(before, NOW, params)).toBeNull()
})
