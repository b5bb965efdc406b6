import { describe, expect, test } from 'vitest'
import { bytes } from '../src/contract/context.ts'
import { atTask } from '../src/contract/fixtures.ts'
import { BackendError } from '../src/errors.ts'
import type { Position } from '../src/position.ts'
import { toHead, type WorkflowSnapshot } from '../src/snapshot.ts'
import {
  cancelWorkflow,
  completeTask,
  completeWorkflow,
  createSnapshot,
  failWorkflow,
  moveTo,
  pauseWorkflow,
  resumeWorkflow,
  scheduleRetry,
} from '../src/transitions.ts'

const AT = 1_700_000_000_000

function codeOf(call: () => unknown): string {
  try {
    call()
  } catch (error) {
    if (BackendError.is(error)) return error.code
    if (error instanceof Error) return error.name
  }
  return 'nothing thrown'
}

const ended: readonly (readonly [string, WorkflowSnapshot])[] = [
  ['completed', completeWorkflow(atTask('i'), bytes('end'))],
  ['failed', failWorkflow(atTask('i'), 'boom')],
  ['cancelled', cancelWorkflow(atTask('i'), { at: AT })],
]

const orderOf = ({ state }: WorkflowSnapshot): string[] => [...state.completedTasks.keys()]

describe('createSnapshot', () => {
  test('has nothing to run unless it is told where to start', () => {
    expect(createSnapshot({ instanceId: 'i', definitionHash: 'd' })).toEqual({
      instanceId: 'i',
      definitionHash: 'd',
      revision: 0,
      createdAt: 0,
      updatedAt: 0,
      initialInput: null,
      state: {
        status: 'in-progress',
        position: { kind: 'not-started' },
        completedTasks: new Map(),
        lastCompletedTaskId: null,
      },
      priority: null,
      tags: [],
      deadline: null,
      retries: new Map(),
      loopIterations: new Map(),
      traceParent: null,
    })
  })

  test('refuses wrong parts', () => {
    const good = { instanceId: 'i', definitionHash: 'd' }
    const position = { kind: 'at-task', taskId: '' } as const
    expect(codeOf(() => createSnapshot({ ...good, instanceId: '' }))).toBe('TypeError')
    expect(codeOf(() => createSnapshot({ ...good, definitionHash: 'a\0b' }))).toBe('TypeError')
    expect(codeOf(() => createSnapshot({ ...good, position }))).toBe('TypeError')
    expect(codeOf(() => createSnapshot({ ...good, priority: 6 }))).toBe('RangeError')
    expect(codeOf(() => createSnapshot({ ...good, tags: new Array(33).fill('t') }))).toBe(
      'RangeError',
    )
  })

  test('does not see later writes into what it was given', () => {
    const tags = ['gpu']
    const pendingTasks = [{ taskId: 'x', tags }]
    const snapshot = createSnapshot({
      instanceId: 'i',
      definitionHash: 'd',
      tags,
      position: {
        kind: 'at-fork',
        forkId: 'f',
        pendingTasks,
        join: { taskId: 'j' },
        completedBranches: new Map(),
        wakeAt: null,
      },
    })
    tags.push('late')
    pendingTasks.pop()
    expect(snapshot.tags).toEqual(['gpu'])
    expect(snapshot.state).toMatchObject({
      position: { pendingTasks: [{ taskId: 'x', tags: ['gpu'] }] },
    })
  })
})

describe('completeTask', () => {
  test('puts a task completed again at the end', () => {
    let snapshot = atTask('i')
    for (const id of ['a', 'b', 'c', 'a']) snapshot = completeTask(snapshot, id, bytes(id))
    expect(orderOf(snapshot)).toEqual(['b', 'c', 'a'])
    expect(snapshot.state).toMatchObject({
      lastCompletedTaskId: 'a',
      position: { kind: 'at-task', taskId: 'a' },
    })
  })

  test('leaves the snapshot before it as it was', () => {
    const before = completeTask(atTask('i'), 'a', bytes('1'))
    completeTask(before, 'a', bytes('2'))
    completeTask(before, 'b', bytes('3'))
    expect([...before.state.completedTasks]).toEqual([['a', { taskId: 'a', output: bytes('1') }]])
  })

  test("clears that task's retry state and no other's", () => {
    let snapshot = atTask('i')
    for (const id of ['a', 'b']) {
      snapshot = scheduleRetry(snapshot, id, { error: 'boom', workerId: 'w', retryAt: AT })
    }
    expect([...completeTask(snapshot, 'a', bytes('')).retries.keys()]).toEqual(['b'])
  })

  test('works on a paused instance and on a head', () => {
    const paused = pauseWorkflow(atTask('i'), { at: AT })
    expect(completeTask(paused, 'a', bytes('')).state.status).toBe('paused')
    const head = completeTask(toHead(atTask('i')), 'a', bytes(''))
    expect(head.state).toMatchObject({ lastCompletedTaskId: 'a' })
    expect('completedTasks' in head.state).toBe(false)
  })

  test('takes a name that objects have themselves', () => {
    const snapshot = completeTask(atTask('i'), '__proto__', bytes('safe'))
    expect(orderOf(snapshot)).toEqual(['__proto__'])
  })
})

describe('moveTo', () => {
  const to = { kind: 'at-task', taskId: 'b' } as const

  test("resets what was the last task's own", () => {
    const deadline = { taskId: 'a', deadlineAt: AT, timeoutMs: 5 }
    const before = atTask('i', 'a', { priority: 1, tags: ['gpu'], deadline })
    expect(moveTo(before, to)).toMatchObject({ priority: 3, tags: [], deadline: null })
    expect(moveTo(before, to, { priority: null, tags: ['eu'] })).toMatchObject({
      priority: null,
      tags: ['eu'],
      deadline: null,
    })
  })

  test('remembers the iteration of a loop, also after it', () => {
    const loop = { kind: 'in-loop', loopId: 'l', iteration: 4, nextTaskId: 'a' } as const
    const inLoop = moveTo(moveTo(atTask('i'), { ...loop, loopId: 'outer' }), loop)
    expect(moveTo(inLoop, to).loopIterations).toEqual(
      new Map([
        ['outer', 4],
        ['l', 4],
      ]),
    )
    expect(moveTo(inLoop, { ...loop, iteration: 5 }).loopIterations.get('l')).toBe(5)
  })

  test('refuses a wrong position', () => {
    const wrong = { kind: 'at-fork', forkId: 'f', pendingTasks: [{ taskId: 'x' }], join: null }
    expect(codeOf(() => moveTo(atTask('i'), wrong as unknown as Position))).toBe('TypeError')
    expect(codeOf(() => moveTo(atTask('i'), to, { priority: 0 }))).toBe('RangeError')
  })
})

describe('ending', () => {
  test('keeps the outputs and drops the deadline', () => {
    const deadline = { taskId: 'a', deadlineAt: AT, timeoutMs: 5 }
    const before = completeTask(atTask('i', 'a', { deadline }), 'a', bytes('out'))
    const ends = [
      completeWorkflow(before, bytes('end')),
      failWorkflow(before, 'boom'),
      cancelWorkflow(before, { at: AT }),
    ]
    for (const snapshot of ends) {
      expect(orderOf(snapshot)).toEqual(['a'])
      expect(snapshot.deadline).toBeNull()
      expect(snapshot.state).not.toHaveProperty('position')
    }
  })

  test('a head that ends has no outputs, not even empty ones', () => {
    expect(completeWorkflow(toHead(atTask('i')), bytes('end')).state).toEqual({
      status: 'completed',
      finalOutput: bytes('end'),
    })
  })

  test('is possible from a pause', () => {
    const paused = pauseWorkflow(atTask('i'), { reason: 'why', pausedBy: 'ann', at: AT })
    expect(failWorkflow(paused, 'boom').state).toEqual({
      status: 'failed',
      error: 'boom',
      completedTasks: new Map(),
    })
  })

  test.each(ended)('is for good: %s', (_, snapshot) => {
    expect(codeOf(() => completeTask(snapshot, 'a', bytes('')))).toBe('TERMINAL')
    expect(codeOf(() => moveTo(snapshot, { kind: 'not-started' }))).toBe('TERMINAL')
    expect(codeOf(() => completeWorkflow(snapshot, bytes('')))).toBe('TERMINAL')
    expect(codeOf(() => failWorkflow(snapshot, 'again'))).toBe('TERMINAL')
    const retry = { error: 'boom', workerId: 'w', retryAt: AT }
    expect(codeOf(() => scheduleRetry(snapshot, 'a', retry))).toBe('TERMINAL')
    expect(codeOf(() => pauseWorkflow(snapshot, { at: AT }))).toBe('CANNOT_PAUSE')
    expect(codeOf(() => resumeWorkflow(snapshot))).toBe('CANNOT_PAUSE')
  })
})

describe('cancelWorkflow', () => {
  test('says who, why, when and at what', () => {
    const params = { reason: 'why', cancelledBy: 'ann', interruptedAtTask: 'a', at: AT }
    expect(cancelWorkflow(atTask('i'), params).state).toEqual({
      status: 'cancelled',
      reason: 'why',
      cancelledBy: 'ann',
      cancelledAt: AT,
      interruptedAtTask: 'a',
      completedTasks: new Map(),
    })
  })

  test('leaves a cancelled instance as it is, and refuses one that ended otherwise', () => {
    const first = cancelWorkflow(atTask('i'), { reason: 'first', at: AT })
    expect(cancelWorkflow(first, { reason: 'second', at: AT + 1 })).toBe(first)
    for (const [status, snapshot] of ended) {
      if (status === 'cancelled') continue
      expect(codeOf(() => cancelWorkflow(snapshot, { at: AT }))).toBe('CANNOT_CANCEL')
    }
  })
})

describe('pauseWorkflow and resumeWorkflow', () => {
  const loop: Position = { kind: 'in-loop', loopId: 'l', iteration: 2, nextTaskId: 'b' }

  test('come back to the same snapshot', () => {
    const before = completeTask(
      moveTo(atTask('i'), loop, { priority: 2, tags: ['gpu'] }),
      'b',
      bytes('1'),
    )
    const paused = pauseWorkflow(before, { reason: 'why', pausedBy: 'ann', at: AT })
    expect(paused.state).toMatchObject({
      status: 'paused',
      reason: 'why',
      pausedBy: 'ann',
      pausedAt: AT,
      position: loop,
    })
    expect(resumeWorkflow(paused)).toStrictEqual(before)
    expect(resumeWorkflow(toHead(paused))).toStrictEqual(toHead(before))
  })

  test('a second pause changes nothing', () => {
    const paused = pauseWorkflow(atTask('i'), { reason: 'first', at: AT })
    expect(pauseWorkflow(paused, { reason: 'second', at: AT + 1 })).toBe(paused)
  })

  test('what is not paused can not be resumed', () => {
    expect(codeOf(() => resumeWorkflow(atTask('i')))).toBe('CANNOT_PAUSE')
  })
})

describe('scheduleRetry', () => {
  const retry = { error: 'boom', workerId: 'w', retryAt: AT }

  test('counts the runs that failed, each task its own', () => {
    const once = scheduleRetry(atTask('i'), 'a', retry)
    const twice = scheduleRetry(once, 'a', { error: 'bang', workerId: null, retryAt: AT + 1 })
    const both = scheduleRetry(twice, 'b', retry)
    expect(both.retries).toEqual(
      new Map([
        ['a', { attempts: 2, lastError: 'bang', lastFailedWorker: null, nextRetryAt: AT + 1 }],
        ['b', { attempts: 1, lastError: 'boom', lastFailedWorker: 'w', nextRetryAt: AT }],
      ]),
    )
    expect(once.retries.get('a')?.attempts).toBe(1)
  })

  test("keeps the engine's policy", () => {
    const policy = { maxRetries: 3, initialDelayMs: 5, backoffMultiplier: 2, maxDelayMs: null }
    const before = {
      ...atTask('i'),
      retries: new Map([
        ['a', { attempts: 1, lastError: '', lastFailedWorker: null, nextRetryAt: 0, policy }],
      ]),
    }
    expect(scheduleRetry(before, 'a', retry).retries.get('a')).toMatchObject({
      attempts: 2,
      policy,
    })
  })

  test('fails the workflow with the run that reaches maxAttempts', () => {
    const last = { ...retry, maxAttempts: 2 }
    const once = scheduleRetry(atTask('i'), 'a', last)
    expect(once.state.status).toBe('in-progress')
    const twice = scheduleRetry(once, 'a', { ...last, error: 'bang' })
    expect(twice.state).toMatchObject({ status: 'failed', error: 'bang' })
    expect(twice.retries.get('a')?.attempts).toBe(2)
    expect(scheduleRetry(atTask('i'), 'a', { ...retry, maxAttempts: 1 }).state.status).toBe(
      'failed',
    )
    expect(codeOf(() => scheduleRetry(once, 'a', { ...retry, maxAttempts: 0 }))).toBe('RangeError')
  })

  test('leaves a paused instance paused', () => {
    const paused = pauseWorkflow(atTask('i'), { at: AT })
    expect(scheduleRetry(paused, 'a', retry).state.status).toBe('paused')
  })
})
