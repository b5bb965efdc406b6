/**
 * Runs the tests of all packages and ends with their sum, "N passed, N failed".
 *
 *     pnpm test [--force] [--filter=@sayiir/persistence-core] [-- vitest's own arguments]
 *
 * The numbers, and before them what failed and how, come from vitest's JSON reports. A package that
 * has a `test` script and leaves no report counts as a failure, and so does a run without a single
 * test.
 *
 * `--part=name` leaves the sum to a later `--total=name,name`, which adds up those runs.
 * `--on-servers` takes only the packages that are tested on servers.
 */
import { chmod, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { temporaryFolder } from '../services/src/temporary-folder.ts'
import { servicesWay } from '../services/src/way.ts'
import { packagesOnServers, root } from './packages.ts'
import { partOf, readPart, startPart, writePart } from './parts.ts'
import { type PackageCount, read, sum, type Total } from './report.ts'
import { turbo } from './turbo.ts'

const failuresShown = 50

const args = process.argv.slice(2)
const total = partOf(args, '--total')
const part = partOf(args, '--part')

if (total !== undefined) {
  const parts = await Promise.all(total.split(',').map((name) => readPart(root, name)))
  for (const { problem } of parts) if (problem) console.log(problem)
  end(sum(parts, 0))
} else {
  await startPart(root, part ?? 'last')
  const turboArgs = await argsForTurbo()
  const none = { passed: 0, failed: 0, skipped: 0, failures: [] }
  const counted = turboArgs === null ? none : await run(turboArgs)
  await writePart(root, part ?? 'last', counted)
  if (part === undefined) end(counted)
  else process.exitCode = turboArgs === null ? 0 : exitCode(counted)
}

/** Null where there is nothing to run. */
async function argsForTurbo(): Promise<string[] | null> {
  const own = args.filter((arg) => !arg.startsWith('--part=') && arg !== '--on-servers')
  if (!args.includes('--on-servers')) return own
  const names = await packagesOnServers()
  if (names.length > 0) return [...names.map((name) => `--filter=${name}`), ...own]
  console.log('no package is tested on servers')
  return null
}

async function run(turboArgs: readonly string[]): Promise<Total> {
  const started = performance.now()
  const packages = await packagesToTest(turboArgs)
  for (const { reports } of packages) await rm(reports, { recursive: true, force: true })

  const code = await inTemporaryFolder(async (TMPDIR) => {
    const env = { SAYIIR_SERVICES_WAY: await servicesWay(), TMPDIR }
    return (await turbo(['run', 'test', '--continue', ...turboArgs], { env })).code
  })

  const counts: PackageCount[] = []
  for (const { name, reports } of packages) counts.push(await read(name, reports))
  const counted = sum(counts, code)

  console.log()
  for (const { name, passed, failed, skipped, problem, servers } of counts) {
    console.log(
      [name, `${passed} passed`, `${failed} failed`, `${skipped} skipped`, servers, problem]
        .filter(Boolean)
        .join(' · '),
    )
  }
  if (counted.problem) console.log(counted.problem)
  console.log(`tests took ${((performance.now() - started) / 1000).toFixed(1)} s`)
  return counted
}

/** Tests that are interrupted leave their temporary files: in a folder that goes with the run. */
async function inTemporaryFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await temporaryFolder()
  // Servers that run as another user have their data below it.
  await chmod(folder, 0o711)
  try {
    return await work(folder)
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 20 })
  }
}

/** The packages that turbo would test with these arguments, and where each leaves its reports. */
async function packagesToTest(turboArgs: readonly string[]) {
  const plan = await turbo(['run', 'test', '--dry=json', ...turboArgs], { capture: true })
  if (plan.code !== 0) throw new Error(`turbo could not plan the tests (exit code ${plan.code})`)
  const { tasks }: { tasks: readonly PlannedTask[] } = JSON.parse(
    plan.stdout.slice(plan.stdout.indexOf('{')),
  )
  return tasks
    .filter(({ task, command }) => task === 'test' && command !== '<NONEXISTENT>')
    .map((task) => ({ name: task.package, reports: join(root, task.directory, '.reports') }))
}

interface PlannedTask {
  readonly task: string
  readonly package: string
  readonly directory: string
  readonly command: string
}

/** The failures again, in one place: the output above is that of all packages, thousands of lines. */
function end(counted: Total): void {
  const { passed, failed, skipped, failures } = counted
  for (const { name, message } of failures.slice(0, failuresShown)) {
    console.log(`\nFAILED ${name}\n${message.replace(/^/gm, '  ')}`)
  }
  if (failures.length > failuresShown) console.log(`\nand ${failures.length - failuresShown} more`)
  if (failures.length > 0) console.log()
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
  process.exitCode = exitCode(counted)
}

function exitCode({ passed, failed }: Total): number {
  return failed > 0 || passed === 0 ? 1 : 0
}
