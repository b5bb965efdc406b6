import { MODES, type Mode, open, type Worker } from './steps.ts'
import { pathOf } from './throughput.ts'

const [, , folder, workerId] = process.argv
const workers = new Map<Mode, Worker>()
for (const mode of MODES) workers.set(mode, await open(mode, pathOf(folder!, mode), workerId!))

process.on('message', async ({ mode, count }: { mode: Mode; count: number }) => {
  await workers.get(mode)?.work(count)
  process.send?.('done')
})
process.on('disconnect', async () => {
  for (const worker of workers.values()) await worker[Symbol.asyncDispose]()
})
process.send?.('ready')
