import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { packagesOnServers } from '../packages.ts'

it('finds the packages whose contract is tested on servers', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sayiir-packages-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const services = { '@sayiir/services': 'workspace:*' }
  const add = async (name: string, devDependencies: object, file: string) => {
    await mkdir(join(folder, 'packages', name, 'test'), { recursive: true })
    const manifest = JSON.stringify({ name, devDependencies })
    await writeFile(join(folder, 'packages', name, 'package.json'), manifest)
    await writeFile(join(folder, 'packages', name, 'test', file), '')
  }
  await add('b', services, 'contract.test.ts')
  await add('a', services, 'contract.test.ts')
  await add('file', {}, 'contract.test.ts')
  await add('none', services, 'other.test.ts')
  expect(await packagesOnServers(folder)).toEqual(['a', 'b'])
})
