import fc from 'fast-check'
import { expect, test } from 'vitest'
import { checkId, checkPayload } from '../src/check.ts'
import { checkPosition, checkSnapshot } from '../src/check-snapshot.ts'
import {
  arbitraryId,
  arbitraryPayload,
  arbitraryPosition,
  arbitrarySnapshot,
} from '../src/contract/arbitraries.ts'
import { ordered } from './ordered.ts'

const unchanged = <T>(arbitrary: fc.Arbitrary<T>, check: (value: T) => unknown): void =>
  fc.assert(
    fc.property(arbitrary, (value) => {
      expect(ordered(check(value))).toStrictEqual(ordered(value))
    }),
    { numRuns: 500 },
  )

test('every value is one that the checks take as it is', () => {
  unchanged(arbitraryId(), (id) => checkId(id, 'id'))
  unchanged(arbitraryPayload(), (payload) => checkPayload(payload, 'payload', 4096))
  unchanged(arbitraryPosition(), (position) => checkPosition(position, 4096))
  unchanged(arbitrarySnapshot(), (snapshot) => checkSnapshot(snapshot, 4096))
})

test('every state and position comes up, and so do ids that trouble objects', () => {
  const states = fc.sample(arbitrarySnapshot(), 500).map(({ state }) => state.status)
  const kinds = fc.sample(arbitraryPosition(), 500).map(({ kind }) => kind)
  expect(new Set([...states, ...kinds]).size).toBe(5 + 7)
  expect(fc.sample(arbitraryId(), 2000)).toContain('__proto__')
})
