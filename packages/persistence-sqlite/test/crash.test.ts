import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { expect, test } from 'vitest'
import { makeFolder } from './folder.ts'

/** How often the writer is killed; more on demand. */
const KILLS = Number(process.env.SAYIIR_KILLS ?? 20)
const WRITER: string = fileURLToPath(new URL('./writer.ts', import.meta.url))

test(
  `S5: ${KILLS} times kill -9 of a writer loses nothing that it acknowledged`,
  async () => {
    const path = join(makeFolder(), 'file.db')
    let total = 0
    for (let kill = 0; kill < KILLS; kill += 1) {
      const acknowledged = await runAndKill(path, `i${kill}`)
      total += await expectStored(path, acknowledged)
      const database = new DatabaseSync(path)
      expect(database.prepare('PRAGMA integrity_check').all()).toEqual([{ integrity_check: 'ok' }])
      database.close()
    }
    expect(total).toBeGreaterThan(KILLS)
  },
  20_000 + KILLS * 3000,
)

/** The last acknowledged step of each instance, when the writer was killed at some moment. */
async function runAndKill(path: string, prefix: string): Promise<Map<string, number>> {
  const writer = spawn(process.execPath, [...process.execArgv, WRITER, path, prefix], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  writer.stdout.setEncoding('utf8')
  writer.stdout.on('data', (chunk: string) => {
    // From the first acknowledged step on, at no moment in particular.
    if (text === '') setTimeout(() => writer.kill('SIGKILL'), Math.random() * 40)
    text += chunk
  })
  const [, signal] = await once(writer, 'close')
  expect(signal, 'the writer should not end by itself').toBe('SIGKILL')
  const lines = text.split('\n').filter((line) => /^\S+ \d+$/.test(line))
  return new Map(
    lines
      .map((line) => line.split(' ') as [string, string])
      .map(([id, step]) => [id, Number(step)]),
  )
}

/** How many acknowledged steps there were; fails if one is not stored as it was acknowledged. */
async function expectStored(path: string, acknowledged: Map<string, number>): Promise<number> {
  await using backend = await SqliteBackend.connect({ path })
  let count = 0
  for (const [instanceId, last] of acknowledged) {
    const { state, revision } = await backend.loadSnapshot(instanceId)
    expect(revision).toBeGreaterThan(last)
    expect(revision, 'a step that was not acknowledged is whole, or not there').toBe(
      state.completedTasks.size + 1,
    )
    for (let step = 1; step <= state.completedTasks.size; step += 1) {
      const output = state.completedTasks.get(`step-${step}`)?.output
      expect(output).toEqual(new Uint8Array(step % 7 === 0 ? 9000 : 40).fill(step))
    }
    count += last
  }
  return count
}
