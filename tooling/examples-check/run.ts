import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** How a program ended. */
export interface Ended {
  /** Null: it was ended by a signal, because it ran too long. */
  readonly code: number | null
  readonly output: string
}

/** Runs a module in an empty folder of its own, as a reader would, from the packages' sources. */
export async function run(module: string, timeoutMs: number): Promise<Ended> {
  const cwd = await mkdtemp(join(tmpdir(), 'sayiir-example-'))
  try {
    const child = spawn(process.execPath, [...process.execArgv, module], {
      cwd,
      timeout: timeoutMs,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject)
      child.on('close', resolve)
    })
    return { code, output }
  } finally {
    await rm(cwd, { recursive: true })
  }
}
