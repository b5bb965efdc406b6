import { chmod, chown, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './command.ts'

/** PostgreSQL and PgBouncer refuse to run as root: then they run as this user, `nobody`. */
export const serverUid: number | undefined = process.getuid?.() === 0 ? 65_534 : undefined

/** Makes a folder for a server's data that its user owns and can reach. */
export async function serverFolder(parent: string, name: string): Promise<string> {
  const folder = join(parent, name)
  await mkdir(folder, { mode: 0o700 })
  if (serverUid !== undefined) {
    await chmod(parent, 0o711)
    await chown(folder, serverUid, serverUid)
  }
  return folder
}

/**
 * The programs of the cache where the server's user can run them: root's cache is closed to
 * others, so there they are linked into the run's folder, or copied if that is on another disk.
 */
export async function reachable(programs: string, parent: string, name: string): Promise<string> {
  if (serverUid === undefined) return programs
  const target = join(parent, name)
  await chmod(parent, 0o711)
  await run('sh', [
    '-c',
    'cp -al "$1" "$2" 2>/dev/null || cp -a "$1/." "$2"',
    'sh',
    programs,
    target,
  ])
  return target
}
