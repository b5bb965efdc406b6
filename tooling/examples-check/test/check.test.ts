import { describe, expect, test } from 'vitest'
import { Modules } from '../compile.ts'
import { type Example, examplesOf } from '../example.ts'
import { run } from '../run.ts'

const example = (code: string): Example => ({ file: 'a.md', line: 3, code, runs: true })

describe('finding examples', () => {
  test('in a document: TypeScript only, with its first line, marked to run or not', () => {
    const text = [
      '# Title',
      '```ts',
      'a',
      '',
      'b',
      '```',
      '```sh',
      'c',
      '```',
      '```ts run',
      'd',
      '```',
    ]
    expect(examplesOf('docs/a.md', text.join('\n'))).toEqual([
      { file: 'docs/a.md', line: 3, code: 'a\n\nb', runs: false },
      { file: 'docs/a.md', line: 11, code: 'd', runs: true },
    ])
  })

  test('in a source: inside comments, without their margin', () => {
    const text = [
      '/**',
      ' * @example',
      ' * ```ts',
      ' * a',
      ' *',
      ' *   b',
      ' * ```',
      ' */',
      '```ts',
    ]
    expect(examplesOf('a.ts', text.join('\r\n'))).toEqual([
      { file: 'a.ts', line: 4, code: 'a\n\n  b', runs: false },
    ])
  })

  test('one without an end is an error', () => {
    expect(() => examplesOf('a.md', '```ts\na')).toThrow('a.md:2: the example has no end')
    expect(() => examplesOf('a.ts', ' * ```ts\n * a\n */')).toThrow('a.ts:3: the comment ends')
  })
})

describe('compiling examples', { timeout: 120_000 }, () => {
  test('a wrong one is told with its place in the document, a right one is not', async () => {
    const right = example("import { createSnapshot } from '@sayiir/persistence-core'\n")
    const wrong = { ...example('const one = 1\nconst two: string = one'), file: 'b.md' }
    await using modules = await Modules.write([right, wrong])
    const { problems, others } = await modules.compile()
    expect([...problems.keys()]).toEqual([wrong])
    expect(problems.get(wrong)).toEqual([expect.stringMatching(/^b\.md:4: error TS2322: /)])
    expect(others).toEqual([])
  })
})

describe('running examples', { timeout: 60_000 }, () => {
  test('gives the exit code and what was printed', async () => {
    await using modules = await Modules.write([example("throw new Error('no such luck')")])
    const { code, output } = await run(modules.pathOf(example('')), 20_000)
    expect(code).toBe(1)
    expect(output).toContain('no such luck')
  })

  test('ends one that goes on for ever', async () => {
    await using modules = await Modules.write([example('setInterval(() => {}, 1000)')])
    expect(await run(modules.pathOf(example('')), 500)).toEqual({ code: null, output: '' })
  })
})
