import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { fill, MODES, type Mode } from './steps.ts'
import { median, type Row } from './table.ts'

const STEPS: Record<Mode, number> = {
  bare: 1600,
  'one at a time': 1600,
  claimNext: 1600,
  'batches of 50': 12_000,
}
const ROUNDS = 3

/** Steps a second with these many processes, and how each way compares with bare statements. */
export async function throughput(folder: string, processes: number): Promise<Row[]> {
  const rates = new Map<Mode, number[]>(MODES.map((mode) => [mode, []]))
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const mode of MODES) rates.get(mode)?.push(await run(mode, folder, processes))
  }
  const bare = median(rates.get('bare')!)
  const aims: Partial<Record<Mode, number>> = { 'one at a time': 0.7, 'batches of 50': 3 }
  return MODES.map((mode) => {
    const rate = median(rates.get(mode)!)
    return {
      what: `claim + commit, ${processes} process${processes === 1 ? '' : 'es'}, ${mode}`,
      value: `${Math.round(rate)}/s`,
      ratio: rate / bare,
      ...(mode in aims ? { atLeast: aims[mode]! } : undefined),
    }
  })
}

async function run(mode: Mode, folder: string, processes: number): Promise<number> {
  const path = `${folder}/throughput.db`
  const each = Math.ceil(STEPS[mode] / processes)
  // More than are taken: the last steps find a queue too.
  await fill(mode, path, each * processes + 100)
  const workers = Array.from({ length: processes }, (_, index) =>
    fork(new URL('./worker.ts', import.meta.url), [mode, path, `worker-${index}`, String(each)]),
  )
  await Promise.all(workers.map((worker) => once(worker, 'message')))
  const start = performance.now()
  for (const worker of workers) worker.send('go')
  await Promise.all(workers.map(done))
  const rate = (each * processes) / ((performance.now() - start) / 1000)
  for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true })
  return rate
}

async function done(worker: ChildProcess): Promise<void> {
  const [code] = await once(worker, 'exit')
  if (code !== 0) throw new Error(`a worker ended with ${code}`)
}
