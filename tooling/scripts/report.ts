import { readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { stripVTControlCharacters } from 'node:util'

/** How many tests ended how. */
export interface Total {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** Why there is a failure that no test tells of. */
  readonly problem?: string
  readonly failures: readonly Failure[]
}

/** A test that failed, or a file that could not be loaded. */
interface Failure {
  /** Such as "@sayiir/persistence-core: test/codec.test.ts > refuses a cycle". */
  readonly name: string
  /** What it said, cut to what one reads in a log. */
  readonly message: string
}

export interface PackageCount extends Total {
  readonly name: string
  /** Which servers the tests were for, with their versions. */
  readonly servers?: string
}

/** The part of vitest's JSON report that is counted. */
interface VitestReport {
  readonly success: boolean
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly numTodoTests: number
  readonly testResults: readonly TestFile[]
}

interface TestFile {
  /** Its absolute path. */
  readonly name: string
  readonly status: string
  readonly message: string
  readonly assertionResults: readonly {
    readonly status: string
    readonly ancestorTitles: readonly string[]
    readonly title: string
    readonly failureMessages: readonly string[]
  }[]
}

const longestMessage = 2_000
/** A stack's line that tells of the test runner, not of the test. */
const foreignFrame = /^\s+at (?:.*node_modules|new Promise \(<anonymous>\))/

/** Counts one package's report; no report, or an unreadable one, is a failure. */
export async function read(name: string, folder: string): Promise<PackageCount> {
  try {
    const report: VitestReport = JSON.parse(await readFile(join(folder, 'vitest.json'), 'utf8'))
    const failures = report.testResults.flatMap((file) => failuresOf(name, folder, file))
    const counted = { ...count(report), failures }
    const answered = await servers(join(folder, 'services.json'))
    return { name, ...counted, ...(answered === undefined ? {} : { servers: answered }) }
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    const problem = missing ? 'no report: the test runner did not finish' : `report: ${error}`
    return { name, passed: 0, failed: 1, skipped: 0, problem, failures: [] }
  }
}

/** `folder` is that of the reports, in the package's own. */
function failuresOf(name: string, folder: string, file: TestFile): Failure[] {
  const path = `${name}: ${relative(join(folder, '..'), file.name)}`
  if (file.status === 'failed' && file.assertionResults.length === 0) {
    return [{ name: path, message: shortened(file.message) }]
  }
  return file.assertionResults
    .filter(({ status }) => status === 'failed')
    .map(({ ancestorTitles, title, failureMessages }) => ({
      name: [path, ...ancestorTitles, title].join(' > '),
      message: shortened(failureMessages.join('\n')),
    }))
}

function shortened(message: string): string {
  const lines = stripVTControlCharacters(message).trim().split('\n')
  const text = lines.filter((line) => !foreignFrame.test(line)).join('\n')
  return text.length > longestMessage ? `${text.slice(0, longestMessage)} …` : text
}

/** Who answered, such as "FerretDB 2.7.0 (package)", as `@sayiir/services` left it. */
async function servers(file: string): Promise<string | undefined> {
  const text = await readFile(file, 'utf8').catch(() => null)
  if (text === null) return undefined
  const answered: readonly { product: string; version: string; how: string }[] = JSON.parse(text)
  const told = answered.map(({ product, version, how }) => `${product} ${version} (${how})`)
  return [...new Set(told)].join(', ')
}

/** Counts a report. A file that could not be loaded has no tests in it and counts as one failure. */
function count(report: VitestReport): Omit<Total, 'failures'> {
  const unloaded = report.testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
  ).length
  const failed = report.numFailedTests + unloaded
  const passed = report.numPassedTests
  const skipped = report.numPendingTests + report.numTodoTests
  if (!report.success && failed === 0) {
    return { passed, failed: 1, skipped, problem: 'an error outside the tests' }
  }
  return unloaded === 0
    ? { passed, failed, skipped }
    : { passed, failed, skipped, problem: `${unloaded} test files could not be loaded` }
}

/** Adds the packages up; an exit code that none of them explains is one more failure. */
export function sum(counts: readonly Total[], code: number): Total {
  const add = (key: 'passed' | 'failed' | 'skipped') => counts.reduce((n, c) => n + c[key], 0)
  const total = {
    passed: add('passed'),
    failed: add('failed'),
    skipped: add('skipped'),
    failures: counts.flatMap(({ failures }) => failures),
  }
  if (code !== 0 && total.failed === 0) {
    return { ...total, failed: 1, problem: `the run ended with exit code ${code}` }
  }
  return total
}
