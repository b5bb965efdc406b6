/**
 * Runs the tests of all packages and ends with their sum, "N passed, N failed".
 *
 *     pnpm test [--force] [--filter=@sayiir/persistence-core] [-- vitest's own arguments]
 *
 * The numbers come from vitest's JSON reports. A package that has a `test` script and leaves no
 * report counts as a failure, and so does a run without a single test.
 *
 * `--no-total` leaves the sum to a later `--total`, which prints that of the last run.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type PackageCount, read, sum, type Total } from './report.ts'
import { turbo } from './turbo.ts'

const root = join(import.meta.dirname, '../..')
const totalFile = join(root, '.reports/total.json')
const args = process.argv.slice(2)

if (args.includes('--total')) {
  report(await lastTotal())
} else {
  const total = await run(args.filter((arg) => arg !== '--no-total'))
  if (args.includes('--no-total')) process.exitCode = exitCode(total)
  else report(total)
}

async function run(turboArgs: readonly string[]): Promise<Total> {
  const started = performance.now()
  await rm(totalFile, { force: true })
  const packages = await packagesToTest(turboArgs)
  for (const { report } of packages) await rm(report, { force: true })

  const { code } = await turbo(['run', 'test', '--continue', ...turboArgs])

  const counts: PackageCount[] = []
  for (const { name, report } of packages) counts.push(await read(name, report))
  const total = sum(counts, code)
  await mkdir(join(root, '.reports'), { recursive: true })
  await writeFile(totalFile, JSON.stringify(total))

  console.log()
  for (const { name, passed, failed, skipped, problem } of counts) {
    console.log(
      [name, `${passed} passed`, `${failed} failed`, `${skipped} skipped`, problem]
        .filter(Boolean)
        .join(' · '),
    )
  }
  if (total.problem) console.log(total.problem)
  console.log(`tests took ${((performance.now() - started) / 1000).toFixed(1)} s`)
  return total
}

/** The packages that turbo would test with these arguments, and where each leaves its report. */
async function packagesToTest(turboArgs: readonly string[]) {
  const { code, stdout } = await turbo(['run', 'test', '--dry=json', ...turboArgs], true)
  if (code !== 0) throw new Error(`turbo could not plan the tests (exit code ${code})`)
  const plan: {
    tasks: readonly { task: string; package: string; directory: string; command: string }[]
  } = JSON.parse(stdout.slice(stdout.indexOf('{')))
  return plan.tasks
    .filter(({ task, command }) => task === 'test' && command !== '<NONEXISTENT>')
    .map((task) => ({
      name: task.package,
      report: join(root, task.directory, '.reports/vitest.json'),
    }))
}

async function lastTotal(): Promise<Total> {
  try {
    return JSON.parse(await readFile(totalFile, 'utf8'))
  } catch {
    console.log('the tests did not finish')
    return { passed: 0, failed: 1, skipped: 0 }
  }
}

function report(total: Total): void {
  console.log(line(total))
  process.exitCode = exitCode(total)
}

function line({ passed, failed, skipped }: Total): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

function exitCode({ passed, failed }: Total): number {
  return failed > 0 || passed === 0 ? 1 : 0
}
