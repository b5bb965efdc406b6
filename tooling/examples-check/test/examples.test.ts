import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Compilation, Modules } from '../compile.ts'
import { findExamples } from '../example.ts'
import { run } from '../run.ts'

const examples = await findExamples()
const modules = await Modules.write(examples)
afterAll(() => modules[Symbol.asyncDispose]())

describe('examples compile', () => {
  let compiled: Compilation
  beforeAll(async () => {
    compiled = await modules.compile()
  }, 120_000)

  for (const example of examples) {
    test(`${example.file}:${example.line} compiles`, () => {
      expect(compiled.problems.get(example) ?? []).toEqual([])
    })
  }

  test('and so does what they import', () => {
    expect(compiled.others).toEqual([])
  })
})

describe('examples run', () => {
  const running = examples.filter(({ runs }) => runs)

  for (const example of running) {
    test(`${example.file}:${example.line} runs`, { timeout: 60_000 }, async () => {
      const { code, output } = await run(modules.pathOf(example), 50_000)
      expect(code, output).toBe(0)
    })
  }

  test('that of README.md is among them', () => {
    expect(running.map(({ file }) => file)).toContain('README.md')
  })
})
