import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test, vi } from 'vitest'
import { cached, cacheFolder } from '../src/cache.ts'
import { sandbox } from './sandbox.ts'

async function emptyCache(): Promise<void> {
  const { folder } = await sandbox()
  vi.stubEnv('XDG_CACHE_HOME', folder)
  onTestFinished(() => void vi.unstubAllEnvs())
}

test('a folder is filled once, also by several at once', async () => {
  await emptyCache()
  let fills = 0
  let atOnce = 0
  const fill = async (folder: string) => {
    expect(++atOnce).toBe(1)
    fills++
    await sleep(50)
    await writeFile(join(folder, 'file'), 'content')
    atOnce--
  }
  const folders = await Promise.all([1, 2, 3, 4].map(() => cached('thing', fill)))
  expect(new Set(folders)).toEqual(new Set([join(cacheFolder(), 'thing')]))
  expect(fills).toBe(1)
  expect(await readdir(cacheFolder())).toEqual(['thing'])
})

test('what an interrupted fill had is there for the next one', async () => {
  await emptyCache()
  await expect(
    cached('thing', async (folder) => {
      await writeFile(join(folder, 'half'), 'done')
      throw new Error('interrupted')
    }),
  ).rejects.toThrow('interrupted')
  expect(await readdir(cacheFolder())).not.toContain('thing')
  const folder = await cached('thing', async (partial) => {
    expect(await readdir(partial)).toEqual(['half'])
  })
  expect(await readdir(folder)).toEqual(['half'])
})
