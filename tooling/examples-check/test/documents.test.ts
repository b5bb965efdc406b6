import { existsSync } from 'node:fs'
import { glob, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { root } from '../example.ts'

const documents = await texts(['*.md', 'docs/**/*.md', 'packages/*/README.md'])
const suite = await texts(['packages/persistence-core/src/contract/*.ts'])

async function texts(patterns: readonly string[]): Promise<Map<string, string>> {
  const files = await Array.fromAsync(glob(patterns, { cwd: root }))
  const names = files.map((file) => file.replaceAll('\\', '/')).sort()
  const read = async (name: string): Promise<[string, string]> => [
    name,
    await readFile(join(root, name), 'utf8'),
  ]
  return new Map(await Promise.all(names.map(read)))
}

describe('links', () => {
  test.each([...documents.keys()])('%s links to what is there', (name) => {
    const text = documents.get(name) ?? ''
    const targets = [...text.matchAll(/\]\((?![a-z]+:)([^)\s]+)\)/g)].map(
      ([, target = '']) => target,
    )
    expect(targets.filter((target) => !isThere(name, target))).toEqual([])
  })
})

function isThere(from: string, target: string): boolean {
  const [path = '', anchor] = target.split('#')
  const file = path === '' ? from : join(dirname(from), path).replaceAll('\\', '/')
  if (!existsSync(join(root, file))) return false
  return anchor === undefined || anchorsOf(documents.get(file) ?? '').includes(anchor)
}

/** As GitHub makes them from headings. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

describe('docs/contract.md and the suite agree', () => {
  const rules = rulesOf(documents.get('docs/contract.md') ?? '')
  const tested = new Map(
    [...suite].map(([name, text]) => [
      name.slice(name.lastIndexOf('/') + 1),
      new Set([...text.matchAll(/\(\s*'([A-Z]\d{1,2})',/g)].map(([, id = '']) => id)),
    ]),
  )

  test.each([...rules])(
    '%s is tested by the files that it names, and by no others',
    (id, files) => {
      const testing = [...tested].filter(([, ids]) => ids.has(id)).map(([name]) => name)
      expect([...files].sort()).toEqual(testing.sort())
    },
  )

  test('every rule that the suite tests is in the document', () => {
    const ids = new Set([...tested.values()].flatMap((found) => [...found]))
    expect([...ids].filter((id) => !rules.has(id))).toEqual([])
  })
})

/** By rule: the files that its `Tests:` names. A rule goes from its list item to the next, or to a heading. */
function rulesOf(text: string): Map<string, string[]> {
  const items = text.split(/^(?=- [A-Z]\d+ |#)/m).filter((part) => part.startsWith('- '))
  return new Map(
    items.map((item) => {
      const [, id = ''] = /^- (\S+)/.exec(item) ?? []
      const named = item.slice(item.lastIndexOf('Tests:')).matchAll(/`([a-z-]+\.ts)`/g)
      return [id, item.includes('Tests:') ? [...named].map(([, file = '']) => file) : []]
    }),
  )
}
