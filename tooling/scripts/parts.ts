import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Total } from './report.ts'

/** The value of an argument such as `--part=name`. */
export function partOf(args: readonly string[], name: string): string | undefined {
  return args.find((arg) => arg.startsWith(`${name}=`))?.slice(name.length + 1)
}

/** Forgets the sum of a run of before: a run that does not end must not seem to have ended so. */
export async function startPart(root: string, name: string): Promise<void> {
  await rm(file(root, name), { force: true })
}

/** Keeps the sum of a run for the total of several. */
export async function writePart(root: string, name: string, total: Total): Promise<void> {
  await mkdir(join(root, '.reports'), { recursive: true })
  await writeFile(file(root, name), JSON.stringify(total))
}

/** The sum of a run; one that did not end is a failure. */
export async function readPart(root: string, name: string): Promise<Total> {
  try {
    return JSON.parse(await readFile(file(root, name), 'utf8'))
  } catch {
    const problem = `${name}: the tests did not finish`
    return { passed: 0, failed: 1, skipped: 0, problem, failures: [] }
  }
}

function file(root: string, name: string): string {
  return join(root, '.reports', `${name}.json`)
}
