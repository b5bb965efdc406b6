import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** How many tests ended how. */
export interface Total {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** Why there is a failure that no test tells of. */
  readonly problem?: string
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
  readonly testResults: readonly {
    readonly status: string
    readonly assertionResults: readonly unknown[]
  }[]
}

/** Counts one package's report; no report, or an unreadable one, is a failure. */
export async function read(name: string, folder: string): Promise<PackageCount> {
  try {
    const counted = count(JSON.parse(await readFile(join(folder, 'vitest.json'), 'utf8')))
    const answered = await servers(join(folder, 'services.json'))
    return { name, ...counted, ...(answered === undefined ? {} : { servers: answered }) }
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    const problem = missing ? 'no report: the test runner did not finish' : `report: ${error}`
    return { name, passed: 0, failed: 1, skipped: 0, problem }
  }
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
function count(report: VitestReport): Total {
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
  const total = { passed: add('passed'), failed: add('failed'), skipped: add('skipped') }
  if (code !== 0 && total.failed === 0) {
    return { ...total, failed: 1, problem: `the run ended with exit code ${code}` }
  }
  return total
}
