import { glob, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** The repository. */
export const root: string = join(import.meta.dirname, '../..')

/** A piece of TypeScript that a reader may copy. */
export interface Example {
  /** Where it stands, from the root, with slashes. */
  readonly file: string
  /** Of its first line, counted from 1. */
  readonly line: number
  readonly code: string
  /** Marked ```` ```ts run ````: it ends by itself, with exit code 0. */
  readonly runs: boolean
}

/** Every file that may have examples in it: documents, and sources with `@example`. */
const sources: readonly string[] = [
  '*.md',
  'docs/**/*.md',
  'packages/*/README.md',
  'packages/*/src/**/*.ts',
]

/** The examples of the whole repository, in order. */
export async function findExamples(): Promise<Example[]> {
  const files = await Array.fromAsync(glob(sources, { cwd: root }))
  const names = files.map((file) => file.replaceAll('\\', '/')).sort()
  const examples = await Promise.all(
    names.map(async (file) => examplesOf(file, await readFile(join(root, file), 'utf8'))),
  )
  return examples.flat()
}

/**
 * The examples of one file: code between fences, in a source file inside a comment. A fence that is
 * not closed is an error: the rest of the file would go unchecked.
 */
export function examplesOf(file: string, text: string): Example[] {
  const margin = file.endsWith('.md') ? /^/ : /^\s*\*(?: |$)/
  const examples: Example[] = []
  let open: { readonly line: number; readonly runs: boolean; readonly lines: string[] } | null =
    null
  for (const [index, whole] of text.split(/\r?\n/).entries()) {
    const content = margin.test(whole) ? whole.replace(margin, '') : null
    if (open === null) {
      const [, language, mark] = /^```(ts|typescript)(?:\s+(\S+))?\s*$/.exec(content ?? '') ?? []
      if (language !== undefined) open = { line: index + 2, runs: mark === 'run', lines: [] }
    } else if (content === '```') {
      const { line, runs, lines } = open
      examples.push({ file, line, runs, code: lines.join('\n') })
      open = null
    } else if (content === null) {
      throw new Error(`${file}:${index + 1}: the comment ends inside an example`)
    } else {
      open.lines.push(content)
    }
  }
  if (open !== null) throw new Error(`${file}:${open.line}: the example has no end`)
  return examples
}
