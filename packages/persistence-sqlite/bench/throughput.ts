import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { fill, MODES, type Mode } from './steps.ts'
import { median, type Row } from './table.ts'

/** Steps of a round, so few that the machine is much the same for every way in it. */
const STEPS: Record<Mode, number> = {
  bare: 400,
  'bare, all rows': 400,
  'one at a time': 400,
  claimNext: 400,
  'batches of 50': 2000,
}
const ROUNDS = 23
/** Rounds that do not count: a worker runs for days, and the engine optimizes within thousands of steps. */
const WARM_UP = 8
const AIMS: Partial<Record<Mode, number>> = { 'one at a time': 0.7, 'batches of 50': 3 }
/** What does the same work as the backend; `bare`, which stores less, is shown beside it. */
const FLOOR: Mode = 'bare, all rows'

/**
 * Steps a second with these many processes, and how each way compares with bare statements: the
 * median of the ratios within a round, since a machine's disk is not the same a second later.
 */
export async function throughput(parent: string, processes: number): Promise<Row[]> {
  const folder = `${parent}/throughput-${processes}`
  mkdirSync(folder)
  for (const mode of MODES) {
    // More than are taken: the last steps find a queue too.
    await fill(mode, pathOf(folder, mode), STEPS[mode] * (ROUNDS + 1))
  }
  const workers = Array.from({ length: processes }, (_, index) =>
    fork(new URL('./worker.ts', import.meta.url), [folder, `worker-${index}`]),
  )
  await Promise.all(workers.map((worker) => once(worker, 'message')))
  const rates: Record<Mode, number>[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    const rate = { ...STEPS }
    for (const mode of MODES) rate[mode] = await run(workers, mode)
    if (round >= WARM_UP) rates.push(rate)
  }
  for (const worker of workers) worker.disconnect()
  await Promise.all(workers.map((worker) => once(worker, 'exit')))
  return MODES.map((mode) => ({
    what: `claim + commit, ${processes} process${processes === 1 ? '' : 'es'}, ${mode}`,
    value: `${Math.round(median(rates.map((rate) => rate[mode])))}/s`,
    ratio: median(rates.map((rate) => rate[mode] / rate[FLOOR])),
    ...(AIMS[mode] === undefined ? undefined : { atLeast: AIMS[mode] }),
  }))
}

/** Where the database of a way is. */
export function pathOf(folder: string, mode: Mode): string {
  return `${folder}/${mode.replaceAll(' ', '-')}.db`
}

async function run(workers: readonly ChildProcess[], mode: Mode): Promise<number> {
  const each = Math.ceil(STEPS[mode] / workers.length)
  const start = performance.now()
  const done = workers.map((worker) => once(worker, 'message'))
  for (const worker of workers) worker.send({ mode, count: each })
  await Promise.all(done)
  return (each * workers.length) / ((performance.now() - start) / 1000)
}
