import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { claimTimes } from './claim-times.ts'
import { stepBytes } from './step-bytes.ts'
import { print, type Row } from './table.ts'
import { throughput } from './throughput.ts'

/** All, or those whose names are given as arguments. */
const PARTS: Record<string, (folder: string) => Promise<Row[]>> = {
  throughput1: (folder) => throughput(folder, 1),
  throughput4: (folder) => throughput(folder, 4),
  claims: claimTimes,
  bytes: stepBytes,
}

const wanted = process.argv.slice(2)
const folder = mkdtempSync(join(tmpdir(), 'sayiir-bench-'))
let good = true
try {
  for (const [name, part] of Object.entries(PARTS)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue
    good = print(await part(folder)) && good
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
process.exitCode = good ? 0 : 1
