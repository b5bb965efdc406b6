import { BatchWriteItemCommand, GetItemCommand } from '@aws-sdk/client-dynamodb'
import type { Place } from '@sayiir/bench'
import { type ClaimedTask, createSnapshot, type Next } from '@sayiir/persistence-core'
import type { DynamoDBBackend } from '@sayiir/persistence-dynamodb'
import { startService } from '@sayiir/services'
import { Keys, shardOf } from '../src/keys.ts'
import { packWhole, unpack } from '../src/packing.ts'
import { connect, drop } from './backend.ts'
import { connect as connectFloor } from './floor.ts'
import { clientOf, consumed } from './place.ts'

const TTL_MS = 600_000
const STEPS = 1000
const JOBS = 200
const KB = 1024
/** The options' default. */
const SHARDS = 4
/** By then what was found by the last look is forgotten. */
const FORGOTTEN_MS = 1500

interface Units {
  readonly read: number
  readonly write: number
}

/** What this process consumes while something is done, and behind the scenes just after it. */
async function unitsOf(work: () => Promise<unknown>, count = 1): Promise<Units> {
  const before = { ...consumed }
  await work()
  await pause(100)
  return {
    read: (consumed.read - before.read) / count,
    write: (consumed.write - before.write) / count,
  }
}

/** Prints capacity units of the floor and of the backend side by side, and of rules S6 and D8. */
export async function measureUnits(depths: readonly number[]): Promise<void> {
  const service = await startService('dynamodb')
  try {
    const place = (namespace: string): Place => ({
      url: service.url,
      namespace,
      concurrency: 1,
      workload: 'COST',
    })
    console.log('\n| capacity units | read | write | write, to the floor |')
    console.log('| --- | --- | --- | --- |')
    for (const bytes of [200, KB]) await sideBySide(place(`units${bytes}`), bytes)
    await longHistory(place('history'))
    await depth(place('depth'), depths)
  } finally {
    await service.stop()
  }
}

function show(what: string, { read, write }: Units, floor?: Units): void {
  const ratio = floor === undefined ? '' : (write / floor.write).toFixed(2)
  console.log(`| ${what} | ${read.toFixed(2)} | ${write.toFixed(2)} | ${ratio} |`)
}

/** A claim, a completion, and a step, of jobs that are taken one after the other. */
async function sideBySide(place: Place, bytes: number): Promise<void> {
  const output = 'x'.repeat(bytes)
  const of = `outputs of ${bytes} bytes`
  await using floor = await connectFloor({ ...place, namespace: `${place.namespace}_floor` })
  await floor.create()
  await floor.fill(Array.from({ length: JOBS }, () => 'x'.repeat(200)))
  const jobs: Awaited<ReturnType<typeof floor.claim>>[] = []
  const claimed = await unitsOf(async () => {
    for (let index = 0; index < JOBS; index += 1) jobs.push(await floor.claim('w'))
  }, JOBS)
  const [first] = jobs
  if (first === undefined) throw new Error('nothing was claimed')
  const outputs = Array.from({ length: 10 }, () => output)
  const step = await unitsOf(async () => {
    for (let count = 1; count <= 10; count += 1)
      await floor.checkpoint(first, outputs.slice(0, count))
  }, 10)
  const completed = await unitsOf(async () => {
    for (const job of jobs.slice(1)) if (job !== undefined) await floor.complete(job)
  }, JOBS - 1)
  await floor.drop()

  await using backend = await connect(place)
  await create(backend, JOBS)
  const claims: ClaimedTask[] = []
  const own = await unitsOf(async () => {
    for (let index = 0; index < JOBS; index += 1) claims.push(await claimOne(backend))
  }, JOBS)
  const [one, ...others] = claims
  if (one === undefined) throw new Error('nothing was claimed')
  let work = one
  const ownStep = await unitsOf(async () => {
    for (let count = 1; count <= 10; count += 1) work = await commit(backend, work, output, count)
  }, 10)
  const end = await unitsOf(async () => {
    for (const { claim } of others) {
      await backend.commitTask({
        claim,
        outcome: {
          kind: 'completed',
          output: toBytes(output),
          next: { finalOutput: toBytes('1') },
        },
      })
    }
  }, JOBS - 1)
  await drop(place)
  show('floor: a claim', claimed)
  show('a claim', own, claimed)
  show(`floor: to complete a job, ${of}`, completed)
  show(`the commit of the only task, ${of}`, end, completed)
  show(`floor: a step of ten, ${of}`, step)
  show(`a step of ten with \`claimNext\`, ${of}`, ownStep, step)
}

/** Rule S6. */
async function longHistory(place: Place): Promise<void> {
  await using backend = await connect(place)
  await create(backend, 1)
  let work = await claimOne(backend)
  const around = new Map<number, Units>()
  for (let step = 1; step <= STEPS; step += 1) {
    const run = async () => {
      work = await commit(backend, work, 'x'.repeat(KB), step)
    }
    if (step === 10 || step === STEPS) around.set(step, await unitsOf(run))
    else await run()
  }
  for (const [step, units] of around) show(`S6 step ${step}, outputs of 1 KB`, units)
}

/** Rule D8, and a look that finds nothing. */
async function depth(place: Place, depths: readonly number[]): Promise<void> {
  await using backend = await connect(place)
  await create(backend, 1)
  const client = clientOf(place.url)
  const keys = new Keys('sayiir')
  const { p, s } = keys.head('one0')
  const { Item: item = {} } = await client.send(
    new GetItemCommand({ TableName: place.namespace, Key: { p: { S: p }, s: { S: s } } }),
  )
  const { p: _, s: __, ...rest } = unpack(item)
  const classId = item.wp?.S?.split('#').at(-1) ?? ''
  await claimOne(backend)
  await pause(FORGOTTEN_MS)
  const look = () => backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: TTL_MS })
  show('a look that finds nothing', await unitsOf(look))
  let pending = 0
  for (const deep of depths) {
    await fill(deep)
    await pause(FORGOTTEN_MS)
    show(`D8 a lone claim of ${deep.toLocaleString('en')}`, await unitsOf(() => claimOne(backend)))
    const many = async (): Promise<void> => {
      for (let index = 0; index < JOBS; index += 1) await claimOne(backend)
    }
    show(
      `D8 each of ${JOBS} claims in a row, of ${deep.toLocaleString('en')}`,
      await unitsOf(many, JOBS),
    )
  }
  client.destroy()

  async function fill(deep: number): Promise<void> {
    const batches: number[] = []
    for (; pending < deep; pending += 25) batches.push(pending)
    const work = async (): Promise<void> => {
      for (let first = batches.pop(); first !== undefined; first = batches.pop()) {
        const from = first
        const requests = Array.from({ length: 25 }, (_, index) => ({
          PutRequest: { Item: clone(`n${from + index}`) },
        }))
        await client.send(
          new BatchWriteItemCommand({ RequestItems: { [place.namespace]: requests } }),
        )
      }
    }
    await Promise.all([work(), work(), work(), work()])
  }

  function clone(instanceId: string) {
    const shard = shardOf(instanceId, SHARDS)
    const own = { wp: { S: keys.ready(shard, classId) }, l: { N: String(shard) } }
    return {
      ...packWhole({ ...rest, ...own }, KB),
      p: { S: keys.instance(instanceId) },
      s: { S: s },
    }
  }
}

async function create(backend: DynamoDBBackend, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    await backend.saveSnapshot(
      createSnapshot({
        instanceId: `one${index}`,
        definitionHash: 'definition',
        initialInput: new Uint8Array(200),
        position: { kind: 'at-task', taskId: 'step-0' },
      }),
    )
  }
}

async function claimOne(backend: DynamoDBBackend): Promise<ClaimedTask> {
  const [claimed] = await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: TTL_MS })
  if (claimed === undefined) throw new Error('nothing was claimed')
  return claimed
}

async function commit(
  backend: DynamoDBBackend,
  { claim }: ClaimedTask,
  output: string,
  step: number,
): Promise<ClaimedTask> {
  const next: Next = { position: { kind: 'at-task', taskId: `step-${step}` } }
  const receipt = await backend.commitTask({
    claim,
    outcome: { kind: 'completed', output: toBytes(output), next },
    claimNext: { ttlMs: TTL_MS },
  })
  if (receipt.next === null) throw new Error('the next step was not claimed')
  return receipt.next
}

function toBytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
