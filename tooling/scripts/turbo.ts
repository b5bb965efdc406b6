/**
 * Runs turbo with what every use of it here has in common: no telemetry, two tasks at a
 * time, and the version of Node among the things that a cached result depends on.
 *
 *     node tooling/scripts/turbo.ts run build --filter=@sayiir/persistence-core
 */
import { spawn } from 'node:child_process'

export interface TurboResult {
  readonly code: number
  /** What turbo printed, when it was captured. */
  readonly stdout: string
}

export interface TurboOptions {
  /** Gives what turbo prints, which otherwise goes to the terminal. */
  readonly capture?: boolean
  readonly env?: Readonly<Record<string, string>>
}

/** Runs turbo to its end. */
export async function turbo(
  args: readonly string[],
  { capture = false, env = {} }: TurboOptions = {},
): Promise<TurboResult> {
  const child = spawn('turbo', args, {
    stdio: ['ignore', capture ? 'pipe' : 'inherit', 'inherit'],
    shell: process.platform === 'win32',
    env: {
      TURBO_CONCURRENCY: '2',
      ...(process.stdout.isTTY ? {} : { NO_COLOR: '1' }),
      ...process.env,
      ...env,
      DO_NOT_TRACK: '1',
      SAYIIR_NODE_VERSION: process.version,
      TURBO_TELEMETRY_DISABLED: '1',
    },
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))

  let stdout = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ code: code ?? 1, stdout }))
  })
}

if (import.meta.main) process.exitCode = (await turbo(process.argv.slice(2))).code
