import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { ending } from './ending.ts'

/** Where downloaded servers are kept, for this user. */
export function cacheFolder(): string {
  const base = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
  return join(base, 'sayiir', 'services')
}

/**
 * A folder of the cache, made by `fill` if it is not there yet. Only one process fills it, the
 * others wait; one that was interrupted leaves what it had to the next one to go on with. The
 * folder appears under its name complete or not at all, so `fill` must not write its path down.
 */
export async function cached(
  name: string,
  fill: (folder: string) => Promise<void>,
): Promise<string> {
  const folder = join(cacheFolder(), name)
  if (await exists(folder)) return folder
  await mkdir(cacheFolder(), { recursive: true })
  const release = await lock(join(cacheFolder(), `${name}.lock`))
  try {
    if (!(await exists(folder))) {
      const partial = `${folder}.partial`
      await mkdir(partial, { recursive: true })
      await fill(partial)
      await rename(partial, folder)
    }
  } finally {
    release()
  }
  await rm(join(cacheFolder(), `${name}.lock`), { force: true })
  return folder
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null
}

/**
 * Waits until this process alone holds the lock. SQLite's lock on a file is the operating
 * system's: it ends with the process, however that ends, and cannot be left behind.
 */
async function lock(file: string): Promise<() => void> {
  for (;;) {
    const database = new DatabaseSync(file, { timeout: 0 })
    try {
      database.exec('BEGIN EXCLUSIVE')
      return () => database.close()
    } catch (error) {
      database.close()
      if ((error as { errcode?: number }).errcode !== busy) throw error
    }
    await sleep(200, undefined, { signal: ending.signal })
  }
}

const busy = 5
