/**
 * Works on a database until it is killed, several calls at a time, and tells each step on its
 * standard output the moment that it is acknowledged.
 */
import { writeSync } from 'node:fs'
import { completeTask, createSnapshot, moveTo, type TaskClaim } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { bytesOf, type Claim, type Line, OUTPUTS, TASKS } from './kill-work.ts'

const LONG_MS = 3_600_000
const [path, workerId] = process.argv.slice(2) as [string, string]
const backend = await SqliteBackend.connect({ path })

function tell(line: Line): void {
  writeSync(1, `${JSON.stringify(line)}\n`)
}

function shorten({ instanceId, taskId, token }: TaskClaim): Claim {
  return { instanceId, taskId, workerId, token }
}

/** Saves instances and works them off, and what else is available after them. */
async function work(lane: number): Promise<void> {
  for (let count = 0; ; count += 1) {
    const instanceId = `run-${workerId}-${lane}-${count}`
    const { revision } = await backend.saveSnapshot(
      createSnapshot({
        instanceId,
        definitionHash: 'definition',
        initialInput: bytesOf(instanceId),
        position: { kind: 'at-task', taskId: 'task-0' },
      }),
    )
    tell({ did: 'saved', instanceId, revision })
    // Left for another round to find, some of them.
    if (count % 4 === 3) continue
    const taken = await backend.claimTask({
      instanceId,
      taskId: 'task-0',
      workerId,
      ttlMs: LONG_MS,
    })
    if (taken === null) continue
    let claim: Claim | null = shorten(taken)
    tell({ did: 'claimed', claim })
    while (claim !== null) claim = await commit(claim)
  }
}

async function commit(claim: Claim): Promise<Claim | null> {
  const output = bytesOf(claim.instanceId, claim.taskId)
  const following = TASKS[TASKS.indexOf(claim.taskId) + 1]
  tell({ did: 'trying', claim })
  const receipt = await backend.commitTask({
    claim,
    outcome: {
      kind: 'completed',
      output,
      next:
        following === undefined
          ? { finalOutput: output }
          : { position: { kind: 'at-task', taskId: following } },
    },
    claimNext: { ttlMs: LONG_MS },
  })
  const next = receipt.next === null ? null : shorten(receipt.next.claim)
  tell({ did: 'committed', claim, revision: receipt.revision, next })
  return next
}

/** Saves an instance over and over, every output of it changed each time. */
async function save(): Promise<void> {
  const instanceId = `whole-${workerId}`
  let snapshot = createSnapshot({ instanceId, definitionHash: 'definition' })
  for (;;) {
    const version = snapshot.revision + 1
    for (let index = 0; index < OUTPUTS; index += 1) {
      snapshot = completeTask(snapshot, `output-${index}`, bytesOf(instanceId, version, index))
    }
    snapshot = await backend.saveSnapshot(
      moveTo(snapshot, { kind: 'in-loop', loopId: 'loop', iteration: version, nextTaskId: null }),
      { expectedRevision: snapshot.revision },
    )
    tell({ did: 'saved', instanceId, revision: snapshot.revision })
  }
}

/** Sends events to an instance that takes none. */
async function send(): Promise<void> {
  const instanceId = `inbox-${workerId}`
  const { revision } = await backend.saveSnapshot(
    createSnapshot({ instanceId, definitionHash: 'definition' }),
  )
  tell({ did: 'saved', instanceId, revision })
  for (let count = 0; ; count += 1) {
    const event = `event-${count}`
    tell({ did: 'sending', instanceId, event })
    await backend.sendEvent(instanceId, 'name', bytesOf(event), { eventId: event })
    tell({ did: 'sent', instanceId, event })
  }
}

await Promise.all([work(0), work(1), work(2), save(), send()])
