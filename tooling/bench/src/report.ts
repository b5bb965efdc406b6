import { mkdir, writeFile } from 'node:fs/promises'
import { arch, cpus, platform, totalmem } from 'node:os'
import { join, relative } from 'node:path'
import { chart } from './chart.ts'
import type { Definition, Server } from './definition.ts'
import type { Figure } from './figure.ts'
import type { Summary } from './summary.ts'
import { tables } from './table.ts'

/** Prints the tables, and leaves the chart and all figures in a folder. */
export async function report(
  { name, peers = [] }: Definition,
  { product, version }: Server,
  repetitions: readonly (readonly Figure[])[],
  summaries: readonly Summary[],
  folder: string,
): Promise<void> {
  const about = `${product} ${version}, Node ${process.version}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ${platform()} ${arch()}, ${new Date().toISOString().slice(0, 10)}`
  console.log(`\n${tables(summaries)}`)
  console.log(`\nmedian (min..max) of the repetitions, x ratio to the floor (in W4 also to the fewest
pending, in S6 to the early step), taken within each repetition; * stopped at the time cap\n${about}`)
  await mkdir(folder, { recursive: true })
  const write = async (file: string, text: string): Promise<void> => {
    await writeFile(join(folder, file), text)
    console.log(relative(process.cwd(), join(folder, file)))
  }
  await write(`${name}.json`, `${JSON.stringify({ about, summaries, repetitions }, null, 1)}\n`)
  const svg = await chart(
    `${name}: ${about}`,
    name,
    peers.map((peer) => peer.name),
    summaries,
  )
  if (svg !== null) await write(`${name}.svg`, svg)
}
