import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { arbitrarySnapshot } from '../src/contract/arbitraries.ts'
import { decodeSnapshot } from '../src/envelope.ts'
import { BackendError } from '../src/errors.ts'
import { decodeHead, encodeHead, type HeadColumns, STORED_ELSEWHERE } from '../src/head-record.ts'
import type { Branches, Position } from '../src/position.ts'
import { positionOf, type SnapshotHead, toHead } from '../src/snapshot.ts'
import { samples } from './interop.ts'
import { ordered } from './ordered.ts'

const columns: HeadColumns = {
  instanceId: 'i',
  definitionHash: 'd',
  revision: 1,
  createdAt: 2,
  updatedAt: 3,
  initialInput: null,
  finalOutput: null,
}

function columnsOf(head: SnapshotHead): HeadColumns {
  const { instanceId, definitionHash, revision, createdAt, updatedAt, initialInput, state } = head
  const finalOutput = state.status === 'completed' ? state.finalOutput : null
  return {
    instanceId,
    definitionHash,
    revision,
    createdAt,
    updatedAt,
    initialInput,
    finalOutput,
  }
}

const arbitraryHead = (): fc.Arbitrary<SnapshotHead> => arbitrarySnapshot().map(toHead)

function branchesOf(head: SnapshotHead): Branches {
  const position: Position | null = positionOf(head)
  return position?.kind === 'at-fork' || position?.kind === 'at-join'
    ? position.completedBranches
    : new Map()
}

function refuses(record: unknown, message = '', code = 'SERIALIZATION', from = columns): void {
  const text = typeof record === 'string' ? record : JSON.stringify(record)
  expect(() => decodeHead(text, from), text).toThrow(
    expect.objectContaining({ code, instanceId: 'i', message: expect.stringContaining(message) }),
  )
}

describe('any head', () => {
  test('comes back the same from its record and its columns, with every map in its order', () => {
    fc.assert(
      fc.property(arbitraryHead(), (head) => {
        const decoded = decodeHead(encodeHead(head), columnsOf(head))
        expect(ordered(decoded)).toStrictEqual(ordered(head))
        for (const { output } of branchesOf(decoded).values()) {
          expect(output.constructor).toBe(Uint8Array)
        }
      }),
      { numRuns: 1000 },
    )
  })

  test('has nothing in its record that is in a column', () => {
    fc.assert(
      fc.property(arbitraryHead(), (head) => {
        const other = { ...head, ...columns }
        const { state } = other
        const emptied =
          state.status === 'completed' ? { ...state, finalOutput: new Uint8Array(0) } : state
        expect(encodeHead({ ...other, state: emptied })).toBe(encodeHead(head))
      }),
    )
  })

  test('refers to outputs that are stored elsewhere, and to no others', () => {
    fc.assert(
      fc.property(arbitraryHead(), fc.array(fc.boolean()), (head, elsewhere) => {
        const branches = branchesOf(head)
        const replaced = new Map(
          Array.from(branches, ([label, result], index) => [
            label,
            elsewhere[index] ? { ...result, output: STORED_ELSEWHERE } : result,
          ]),
        )
        const position = { ...positionOf(head), completedBranches: replaced }
        const given = branches.size === 0 ? head : { ...head, state: { ...head.state, position } }
        const decoded = decodeHead(encodeHead(given as SnapshotHead), columnsOf(head))
        expect([...branchesOf(decoded)]).toStrictEqual([...replaced])
        for (const [label, { output }] of branchesOf(decoded)) {
          const expected = replaced.get(label)?.output
          expect(output === STORED_ELSEWHERE).toBe(expected === STORED_ELSEWHERE)
        }
      }),
    )
  })
})

describe('the record', () => {
  test('is short, without defaults', () => {
    const head: SnapshotHead = {
      ...toHead(decodeSnapshot(samples[0]?.bytes as Uint8Array)),
      state: {
        status: 'in-progress',
        position: { kind: 'in-loop', loopId: 'l', iteration: 0, nextTaskId: null },
        lastCompletedTaskId: null,
      },
    }
    expect(encodeHead(head)).toBe(
      '{"v":1,"status":"in-progress","position":{"kind":"in-loop","loopId":"l","iteration":0}}',
    )
    expect(
      encodeHead({ ...head, state: { status: 'completed', finalOutput: new Uint8Array(9) } }),
    ).toBe('{"v":1,"status":"completed"}')
  })

  test('takes a few microseconds', () => {
    const [sample] = samples.filter(({ name }) => name === 'linear-in-progress-2')
    const head = toHead(decodeSnapshot(sample?.bytes as Uint8Array))
    const rounds = 20_000
    const start = performance.now()
    for (let round = 0; round < rounds; round += 1) decodeHead(encodeHead(head), columnsOf(head))
    // Some 3 on a small machine; ten times that is left for a busy one.
    expect(((performance.now() - start) * 1000) / rounds).toBeLessThan(30)
  })

  test('may have fields that are not known', () => {
    const record = { v: 1, status: 'failed', error: 'e', later: { deep: [1] } }
    expect(decodeHead(JSON.stringify(record), columns).state).toStrictEqual({
      status: 'failed',
      error: 'e',
    })
  })

  test('of a newer version is refused as such', () => {
    refuses({ v: 2, status: 'new', position: 7 }, 'written by a newer version; upgrade', 'SCHEMA')
  })
})

describe('refused', () => {
  const inProgress = (position: unknown): object => ({ v: 1, status: 'in-progress', position })
  const failed = (fields: object): object => ({ v: 1, status: 'failed', error: '', ...fields })

  test('what is no record', () => {
    for (const text of ['', '{', 'null', '[]', '1', '"x"', '{}', '{"v":"1"}', '{"v":0}', '\0']) {
      refuses(text)
    }
    refuses('['.repeat(1_000_000))
    refuses({ v: 1 }, 'status')
    refuses({ v: 1, status: 'sleeping' }, 'status')
    refuses({ v: 1, status: '__proto__' }, 'status')
    refuses({ v: 1, status: 'completed' }, 'the final output')
    refuses({ v: 1, status: 'failed' }, 'error must be a string')
    refuses({ v: 1, status: 'cancelled' }, 'at must be a whole number')
    refuses({ v: 1, status: 'paused', at: 1 }, 'position must be an object')
  })

  test('a field of another type', () => {
    refuses(failed({ priority: '3' }), 'priority')
    refuses(failed({ priority: null }), 'priority')
    refuses(failed({ tags: 'x' }), 'tags')
    refuses(failed({ tags: [1] }), 'tags')
    refuses(failed({ trace: 1 }), 'trace')
    refuses(failed({ deadline: null }), 'deadline')
    refuses(failed({ deadline: { taskId: 'a', deadlineAt: 1.5, timeoutMs: 1 } }), 'deadlineAt')
    refuses(failed({ loops: { l: 1 } }), 'loops')
    refuses(failed({ loops: [['l', -1]] }), 'loops')
    refuses(failed({ loops: [['l']] }), 'loops')
    refuses(
      failed({
        loops: [
          ['l', 1],
          ['l', 2],
        ],
      }),
      'loops must have each key once',
    )
    refuses(failed({ retries: [['t', null]] }), 'retries')
    refuses(failed({ retries: [['t', { attempts: 1, lastError: '' }]] }), 'nextRetryAt')
    const retry = { attempts: 1, lastError: '', nextRetryAt: 1 }
    const policy = { maxRetries: 1, initialDelayMs: 1, maxDelayMs: null }
    refuses(failed({ retries: [['t', { ...retry, policy }]] }), 'backoffMultiplier')
    refuses(failed({ retries: [['t', { ...retry, policy: null }]] }), 'policy must be an object')
  })

  test('a position that is none', () => {
    refuses(inProgress(undefined), 'position')
    refuses(inProgress([]), 'position')
    refuses(inProgress({ kind: 'at-sea' }), 'position.kind')
    refuses(inProgress({ kind: 'at-task' }), 'position.taskId')
    refuses(inProgress({ kind: 'at-delay', delayId: 'd', enteredAt: 1 }), 'position.wakeAt')
    refuses(inProgress({ kind: 'at-signal', signalId: 's' }), 'position.signalName')
    refuses(inProgress({ kind: 'in-loop', loopId: 'l' }), 'position.iteration')
    const fork = { kind: 'at-fork', forkId: 'f' }
    refuses(inProgress({ ...fork, pendingTasks: {} }), 'position.pendingTasks')
    refuses(inProgress({ ...fork, pendingTasks: ['a'] }), 'position.pendingTasks')
    refuses(inProgress({ ...fork, pendingTasks: [{ taskId: 'a', priority: 'x' }] }), 'priority')
    refuses(inProgress({ ...fork, join: {} }), 'taskId')
    for (const entry of [null, 1, {}, [], ['l'], ['l', 1], ['l', 't', 5], ['l', 't', 'a b=']]) {
      refuses(inProgress({ ...fork, completedBranches: [entry] }))
    }
  })

  test('any text is read or refused, with any value of a record replaced', () => {
    const read = (text: string): void => {
      try {
        decodeHead(text, columns)
      } catch (error) {
        const known = BackendError.is(error, 'SERIALIZATION') || BackendError.is(error, 'SCHEMA')
        expect(known, String(error)).toBe(true)
      }
    }
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), read))
    fc.assert(
      fc.property(arbitraryHead(), fc.nat(), fc.json({ maxDepth: 2 }), (head, pick, other) => {
        const text = encodeHead(head)
        const places = [...text.matchAll(/(?<=[:,[])("([^"\\]|\\.)*"|\d+|\[|\{)/g)]
        const place = places[pick % places.length] as RegExpExecArray
        read(text.slice(0, place.index) + other + text.slice(place.index + place[0].length))
        read(text.slice(0, pick % text.length))
      }),
      { numRuns: 1000 },
    )
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  })
})

test('STORED_ELSEWHERE is no one else’s bytes', () => {
  expect(STORED_ELSEWHERE).toHaveLength(0)
  expect(Object.isFrozen(STORED_ELSEWHERE)).toBe(true)
})
