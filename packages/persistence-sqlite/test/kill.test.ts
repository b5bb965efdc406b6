import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import type { WorkflowSnapshot } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { expect, test } from 'vitest'
import { makeFolder } from './folder.ts'
import { bytesOf, type Claim, type Line, OUTPUTS, TASKS } from './kill-work.ts'

const ROUNDS = Number(process.env.SAYIIR_KILL_ROUNDS ?? 12)
const SEED = 20_261_124

test('S5, S7: what was acknowledged survives kill -9, whole and once, on a file killed again and again', {
  timeout: 30_000 + ROUNDS * 5000,
}, async () => {
  const path = join(makeFolder(), 'file.db')
  const random = randomFrom(SEED)
  const revisions = new Map<string, number>()
  let acknowledged = 0
  for (let round = 0; round < ROUNDS; round += 1) {
    const lines = await runAndKill(path, `worker-${round}`, 20 + Math.floor(random() * 131))
    acknowledged += lines.filter(({ did }) => did !== 'trying' && did !== 'sending').length
    await using backend = await SqliteBackend.connect({ path })
    await checkRound(backend, lines, revisions)
    checkIntegrity(path)
  }
  await using backend = await SqliteBackend.connect({ path })
  const seen = new Map<string, number>()
  for await (const { instanceId } of backend.listSnapshots()) {
    seen.set(instanceId, checkWhole(await backend.loadSnapshot(instanceId)))
  }
  const lost = [...revisions].filter(([id, revision]) => (seen.get(id) ?? 0) < revision)
  expect(lost).toEqual([])
  // Of a round, far more: a writer that does nothing would lose nothing.
  expect(acknowledged).toBeGreaterThan(ROUNDS * 10)
  console.log(`${ROUNDS} kills, ${acknowledged} acknowledged steps, ${lost.length} lost`)
})

/** What the process told until it was killed, `afterMs` after its first line. */
function runAndKill(path: string, workerId: string, afterMs: number): Promise<Line[]> {
  const writer = fileURLToPath(new URL('./kill-writer.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, writer, path, workerId], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let told = ''
  let errors = ''
  child.stdout.setEncoding('utf8').once('data', () => {
    setTimeout(() => child.kill('SIGKILL'), afterMs)
  })
  child.stdout.on('data', (text: string) => (told += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (_, signal) => {
      if (signal !== 'SIGKILL') return reject(new Error(`the writer ended by itself: ${errors}`))
      // What follows the last line feed was cut off.
      const lines = told.split('\n').slice(0, -1)
      resolve(lines.map((line) => JSON.parse(line) as Line))
    })
  })
}

/** Checks what a killed process told, and adds it to the revisions that must be there for good. */
async function checkRound(
  backend: SqliteBackend,
  lines: readonly Line[],
  revisions: Map<string, number>,
): Promise<void> {
  const touched = new Set<string>()
  const held = new Map<string, Claim>()
  const trying = new Map<string, Claim>()
  const atLeast = (instanceId: string, revision: number): void => {
    touched.add(instanceId)
    revisions.set(instanceId, Math.max(revision, revisions.get(instanceId) ?? 0))
  }
  let lastToken = 0
  for (const line of lines) {
    if (line.did === 'saved') atLeast(line.instanceId, line.revision)
    if (line.did === 'trying') trying.set(keyOf(line.claim), line.claim)
    if (line.did === 'committed') {
      atLeast(line.claim.instanceId, line.revision)
      held.delete(keyOf(line.claim))
      trying.delete(keyOf(line.claim))
    }
    const claim = line.did === 'claimed' ? line.claim : line.did === 'committed' ? line.next : null
    if (claim !== null) {
      held.set(keyOf(claim), claim)
      lastToken = Math.max(lastToken, claim.token)
    }
  }
  for (const instanceId of touched) {
    const snapshot = await backend.loadSnapshot(instanceId)
    expect(checkWhole(snapshot)).toBeGreaterThanOrEqual(revisions.get(instanceId) as number)
  }
  for (const [key, claim] of held) {
    if (trying.has(key)) await expectOneCommit(backend, claim)
    else await expectHeld(backend, claim)
  }
  await expectEvents(backend, lines)
  const claimed = await backend.claimAvailableTasks({ workerId: 'parent', limit: 1, ttlMs: 60_000 })
  for (const { claim } of claimed) {
    expect(claim.token).toBeGreaterThan(lastToken)
    await backend.releaseTaskClaim(claim)
  }
}

/** A commit whose reply was lost: sent again, it counts once, whether it had landed or not. */
async function expectOneCommit(backend: SqliteBackend, claim: Claim): Promise<void> {
  const done = TASKS.indexOf(claim.taskId) + 1
  const output = bytesOf(claim.instanceId, claim.taskId)
  const following = TASKS[done]
  const { revision } = await backend.commitTask({
    claim,
    outcome: {
      kind: 'completed',
      output,
      next:
        following === undefined
          ? { finalOutput: output }
          : { position: { kind: 'at-task', taskId: following } },
    },
  })
  expect(revision).toBe(1 + done)
  expect(checkWhole(await backend.loadSnapshot(claim.instanceId))).toBe(revision)
  // Had it landed, the task that follows is held by the one that was killed.
  const { instanceId, workerId } = claim
  if (following !== undefined) {
    const held = { instanceId, taskId: following, workerId }
    await backend.releaseTaskClaim(held)
  }
}

/** A claim that was told is there, nobody else gets it, and its holder can give it up. */
async function expectHeld(backend: SqliteBackend, claim: Claim): Promise<void> {
  const { instanceId, taskId } = claim
  const params = { instanceId, taskId, workerId: 'parent', ttlMs: 60_000 }
  expect(await backend.claimTask(params)).toBeNull()
  await backend.releaseTaskClaim(claim)
}

/** Every event that was told is there, each once, in order; one whose reply was lost may be. */
async function expectEvents(backend: SqliteBackend, lines: readonly Line[]): Promise<void> {
  const sending = lines.filter((line) => line.did === 'sending')
  const sent = lines.filter((line) => line.did === 'sent').length
  const instanceId = sending[0]?.instanceId
  if (instanceId === undefined) return
  const taken = await takeAll(backend, instanceId)
  expect(taken.length).toBeGreaterThanOrEqual(sent)
  // A sender that does not know what arrived sends everything again.
  for (const { event } of sending) {
    await backend.sendEvent(instanceId, 'name', bytesOf(event), { eventId: event })
  }
  const rest = await takeAll(backend, instanceId)
  expect([...taken, ...rest]).toEqual(sending.map(({ event }) => textOf(bytesOf(event))))
}

async function takeAll(backend: SqliteBackend, instanceId: string): Promise<string[]> {
  const taken: string[] = []
  for (;;) {
    const payload = await backend.consumeEvent(instanceId, 'name')
    if (payload === null) return taken
    taken.push(textOf(payload))
  }
}

/** Checks that everything of an instance is of one and the same revision, which is returned. */
function checkWhole({ instanceId, revision, initialInput, state }: WorkflowSnapshot): number {
  const expected = new Map<string, Uint8Array>()
  if (instanceId.startsWith('run-')) {
    const done = revision - 1
    for (const taskId of TASKS.slice(0, done)) expected.set(taskId, bytesOf(instanceId, taskId))
    expect(textOf(initialInput)).toBe(textOf(bytesOf(instanceId)))
    if (done === TASKS.length) {
      const last = bytesOf(instanceId, TASKS.at(-1) as string)
      expect(state.status).toBe('completed')
      expect(textOf(state.status === 'completed' ? state.finalOutput : null)).toBe(textOf(last))
    } else {
      expect(state).toMatchObject({
        status: 'in-progress',
        position: { kind: 'at-task', taskId: TASKS[done] },
        lastCompletedTaskId: TASKS[done - 1] ?? null,
      })
    }
  } else if (instanceId.startsWith('whole-')) {
    for (let index = 0; index < OUTPUTS; index += 1) {
      expected.set(`output-${index}`, bytesOf(instanceId, revision, index))
    }
    expect(state).toMatchObject({ position: { kind: 'in-loop', iteration: revision } })
  } else {
    expect(revision).toBe(1)
  }
  const outputs = [...state.completedTasks].map(([id, { output }]) => [id, textOf(output)])
  expect(outputs).toEqual([...expected].map(([id, output]) => [id, textOf(output)]))
  return revision
}

function checkIntegrity(path: string): void {
  const database = new DatabaseSync(path, { readOnly: true })
  expect(database.prepare('PRAGMA integrity_check').all()).toEqual([{ integrity_check: 'ok' }])
  database.close()
}

function keyOf({ instanceId, taskId }: Claim): string {
  return `${instanceId} ${taskId}`
}

function textOf(bytes: Uint8Array | null): string {
  return bytes === null ? 'nothing' : new TextDecoder().decode(bytes)
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
