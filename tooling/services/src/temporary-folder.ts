import { readlinkSync } from 'node:fs'
import { mkdtemp, readdir, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isRunning } from './process-tree.ts'

/** Names this process among all that share a folder for temporary files or a Docker engine. */
export const owner: string = `${processNamespace()}-${process.pid}`

/** Tells whether an owner's process is certain to be gone. */
export function isGone(name: string): boolean {
  const [, namespace, pid] = /^(\d+)-(\d+)/.exec(name) ?? []
  return namespace === processNamespace() && !isRunning(Number(pid))
}

/** Makes a folder for this process's servers, and removes those of processes that were killed. */
export async function temporaryFolder(parent: string = tmpdir()): Promise<string> {
  const entries = await readdir(parent)
  const left = entries.filter(
    (entry) => entry.startsWith(prefix) && isGone(entry.slice(prefix.length)),
  )
  for (const entry of left) {
    await rm(join(parent, entry), { recursive: true, force: true }).catch(() => undefined)
  }
  return mkdtemp(join(parent, `${prefix}${owner}-`))
}

/** A folder in memory for a server that writes through to its files; null if there is none. */
export async function memoryFolder(): Promise<string | null> {
  const shared = '/dev/shm'
  const space = await statfs(shared).catch(() => null)
  if (space === null || space.bavail * space.bsize < 2 ** 30) return null
  return temporaryFolder(shared)
}

const prefix = 'sayiir-services-'

/** A process id says nothing in another container, which may share the folder. */
function processNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0'
  } catch {
    return '0'
  }
}
