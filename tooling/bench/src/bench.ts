import type { Case } from './case.ts'
import type { Definition, WorkloadName } from './definition.ts'
import type { Figure } from './figure.ts'
import { Lab } from './lab.ts'
import { readOptions, smaller, USAGE } from './options.ts'
import { report } from './report.ts'
import { QUICK } from './sizes.ts'
import { summarize, unmeasured } from './summary.ts'
import { costs } from './workloads/cost.ts'
import { deepQueues } from './workloads/deep-queue.ts'
import { drains } from './workloads/drain.ts'
import { enqueues } from './workloads/enqueue.ts'
import { loads } from './workloads/load.ts'
import { stepBytes } from './workloads/step-bytes.ts'
import { wakeups } from './workloads/wakeup.ts'

const ALL: readonly WorkloadName[] = ['W1', 'W2', 'W3', 'W4', 'ENQ', 'LOAD', 'S6', 'COST']

/**
 * Measures a backend beside its floor, prints tables of ratios, and sets the exit code to 1 if a
 * case fails or an aim is missed. The arguments are those of the process: see the README.
 */
export async function bench(definition: Definition): Promise<void> {
  const options = optionsOf(definition)
  if (options === null) return
  const { peers, ...without } = definition
  const cases = casesOf(options.peers ? definition : without, options.wants)
  const server = await definition.start()
  const repetitions: Figure[][] = []
  let failures = 0
  try {
    await using lab = new Lab(server, options.sizes)
    lab.sizes = smaller(options.sizes, QUICK)
    const warm = cases.filter(({ warmUp }) => warmUp)
    failures += (await repeat(lab, warm, 'warm-up')).failures
    lab.sizes = options.sizes
    for (let index = 0; index < options.repetitions; index += 1) {
      const shift = (index * 7) % cases.length
      const order = [...cases.slice(shift), ...cases.slice(0, shift)]
      const result = await repeat(lab, order, `${index + 1}/${options.repetitions}`)
      repetitions.push(inOrder(result.figures, cases))
      failures += result.failures
    }
  } finally {
    await server.stop()
  }
  const summaries = summarize(repetitions, definition.aims)
  await report(definition, server, repetitions, summaries, options.folder)
  const missed = summaries.filter((summary) => summary.missed).map(({ key }) => key)
  if (options.whole) missed.push(...unmeasured(summaries, definition.aims))
  if (failures > 0 || missed.length > 0) {
    console.error(
      `\n${failures} cases failed, ${missed.length} aims were missed: ${missed.join(', ')}`,
    )
    process.exitCode = 1
  }
}

function optionsOf(definition: Definition) {
  try {
    return readOptions(process.argv.slice(2), definition.sizes)
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n${USAGE}`)
    process.exitCode = 2
    return null
  }
}

/** The cases that are wanted, and those that they are compared with. */
function casesOf(definition: Definition, wants: (id: string) => boolean): Case[] {
  const workloads = definition.workloads ?? ALL
  const all = [
    ...drains(definition),
    ...wakeups(definition),
    ...deepQueues(definition),
    ...enqueues(definition),
    ...loads(definition),
    ...stepBytes(definition),
    ...costs(definition),
  ].filter(({ workload }) => workloads.includes(workload))
  const wanted = all.filter(({ id }) => wants(id))
  const needed = new Set(wanted.flatMap(({ id, needs }) => (needs ? [id, needs] : [id])))
  return all.filter(({ id }) => needed.has(id))
}

async function repeat(lab: Lab, cases: readonly Case[], round: string) {
  const figures = new Map<string, Figure[]>()
  let failures = 0
  for (const one of cases) {
    const start = performance.now()
    try {
      figures.set(one.id, await one.run(lab))
      const seconds = ((performance.now() - start) / 1000).toFixed(1)
      console.error(`${round} ${one.id} ${seconds} s`)
    } catch (error) {
      failures += 1
      console.error(`${round} ${one.id} FAILED:`, error)
    }
  }
  return { figures, failures }
}

/** The figures in the order in which the tables show them, however the cases were turned. */
function inOrder(figures: ReadonlyMap<string, Figure[]>, cases: readonly Case[]): Figure[] {
  return cases.flatMap(({ id }) => figures.get(id) ?? [])
}
