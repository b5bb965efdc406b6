import { execFile } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { isGone, owner } from '../temporary-folder.ts'

/** A network for the containers of one engine. */
export interface Bridge {
  readonly name: string
  remove(): Promise<void>
}

const interfaces = '/sys/class/net'
const prefix = 'sayiir-'

/**
 * Two engines must not give out the addresses of one bridge. Its addresses are of the range that is
 * kept for benchmarks of networks, which no real network has.
 */
export async function addBridge(env: Readonly<Record<string, string>>): Promise<Bridge> {
  await removeLeftOvers(env)
  // Not with run(), which starts nothing more once this process is ending.
  const ip = (...args: string[]) => promisify(execFile)('ip', args, { env })
  const name = `${prefix}${process.pid}`
  await ip('link', 'add', name, 'type', 'bridge')
  const remove = async () => void (await ip('link', 'delete', name).catch(() => undefined))
  try {
    await ip('link', 'set', name, 'alias', owner)
    await ip('address', 'add', `198.18.${randomInt(256)}.1/24`, 'dev', name)
    await ip('link', 'set', name, 'up')
  } catch (error) {
    await remove()
    throw error
  }
  return { name, remove }
}

/** Removes the bridges of processes that were killed. */
async function removeLeftOvers(env: Readonly<Record<string, string>>): Promise<void> {
  for (const name of await readdir(interfaces)) {
    if (!name.startsWith(prefix)) continue
    const alias = await readFile(join(interfaces, name, 'ifalias'), 'utf8').catch(() => '')
    if (!isGone(alias.trim())) continue
    await promisify(execFile)('ip', ['link', 'delete', name], { env }).catch(() => undefined)
  }
}
