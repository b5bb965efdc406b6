import { setImmediate } from 'node:timers/promises'
import { beforeAll, expect, test } from 'vitest'
import { ContractContext } from '../src/contract/context.ts'
import { type ContractTest, contractTests } from '../src/contract/index.ts'
import { harnessOf, type WrongBackend } from './wrong/flawed.ts'
import { wrongBackends } from './wrong/index.ts'
import { wrongWaits } from './wrong/waits.ts'

/** Longer than any test of the suite gives a wait to end. */
const HANGS_MS = 11_000

const all = Object.values(contractTests).flat()
const everyWrong = [...wrongBackends, ...wrongWaits]
const failures = new Map<WrongBackend, unknown>()

/** Why a test fails on a backend; null if it passes. */
async function failureOf({ run, title }: ContractTest, wrong: WrongBackend): Promise<unknown> {
  const { promise: hangs, resolve } = Promise.withResolvers<unknown>()
  const timer = setTimeout(resolve, HANGS_MS, new Error(`${title}: it hangs`))
  const runs = (async () => {
    await using context = new ContractContext(harnessOf(wrong))
    await run(context)
    return null
  })().catch((error: unknown) => error)
  return Promise.race([runs, hangs]).finally(() => clearTimeout(timer))
}

/** Why the first test of its rule fails that does; null if all pass. */
async function firstFailureOf(wrong: WrongBackend): Promise<unknown> {
  for (const one of all) {
    const failure = one.rule === wrong.breaks ? await failureOf(one, wrong) : null
    if (failure !== null) return failure
  }
  return null
}

// Before the tests, not in them: what the suite expects of a promise would count for them, too. A
// wait that never ends fails once its time is up, so those run beside the others.
beforeAll(async () => {
  const inVain = wrongWaits.map(async (wrong) => failures.set(wrong, await firstFailureOf(wrong)))
  for (const wrong of wrongBackends) {
    failures.set(wrong, await firstFailureOf(wrong))
    // A backend in memory never lets timers have their turn.
    await setImmediate()
  }
  await Promise.all(inVain)
}, 120_000)

for (const wrong of everyWrong) {
  test(`${wrong.breaks} catches: ${wrong.name}`, () => {
    expect(all.filter(({ rule }) => rule === wrong.breaks)).not.toEqual([])
    const failure = failures.get(wrong)
    expect(failure, `every test of ${wrong.breaks} passes on it`).toBeInstanceOf(Error)
  })
}

test('every group of rules has wrong backends, and no two have one name', () => {
  const named = everyWrong.map(({ breaks, name }) => `${breaks} ${name}`)
  expect(new Set(named).size).toBe(named.length)
  expect(named.length).toBeGreaterThanOrEqual(36)
  const groupsOf = (rules: readonly string[]) => new Set(rules.map(([letter]) => letter))
  expect(groupsOf(named)).toEqual(groupsOf(all.map(({ rule }) => rule)))
})
