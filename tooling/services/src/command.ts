import { spawn } from 'node:child_process'
import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ending } from './ending.ts'
import { signalTree } from './process-tree.ts'
import { ServiceError } from './service.ts'

export interface CommandOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  readonly uid?: number
  readonly input?: NodeJS.ReadableStream
  /** How often a command that needs the network is tried. */
  readonly tries?: number
}

/** Runs a command to its end and gives what it printed; its last lines if it fails. */
export async function run(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const tries = options.tries ?? 1
  for (let attempt = 1; ; attempt++) {
    ending.signal.throwIfAborted()
    const { code, stdout, output } = await once(command, args, options)
    if (code === 0) return stdout
    if (attempt >= tries) {
      const times = tries === 1 ? '' : `, ${tries} times`
      const shown = `${command} ${args.slice(0, 3).join(' ')}`
      throw new ServiceError(`${shown} … failed (${code})${times}:\n${lastLines(output)}`)
    }
    await sleep(1_000 * 4 ** (attempt - 1), undefined, { signal: ending.signal })
  }
}

interface Ended {
  readonly code: number | string
  readonly stdout: string
  readonly output: string
}

function once(command: string, args: readonly string[], options: CommandOptions): Promise<Ended> {
  const { uid } = options
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: options.cwd ?? '/',
    env: { ...process.env, ...options.env },
    ...(uid === undefined ? {} : { uid, gid: uid }),
  })
  let stdout = ''
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    output += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  const end = () => child.pid !== undefined && signalTree(child.pid, 'SIGTERM')
  ending.signal.addEventListener('abort', end)
  child.on('close', () => ending.signal.removeEventListener('abort', end))
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ code: 'not run', stdout, output: error.message }))
    child.on('close', (code, signal) => resolve({ code: code ?? signal ?? 1, stdout, output }))
  })
}

/** The end of a log, as an error message shows it. */
export function lastLines(text: string, count = 20): string {
  return text
    .trimEnd()
    .split('\n')
    .slice(-count)
    .map((line) => `  | ${line}`)
    .join('\n')
}

/** The full path of a command, also of one that only root's PATH has. */
export async function findCommand(name: string): Promise<string | null> {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  for (const folder of folders.filter((entry) => entry !== '')) {
    const path = join(folder, name)
    try {
      await access(path, constants.X_OK)
      return path
    } catch {
      // The next folder.
    }
  }
  return null
}
