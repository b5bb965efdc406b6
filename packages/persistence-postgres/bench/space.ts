/**
 * What is left in the tables by many commits: dead rows, sizes of tables and indexes, how much of
 * the updates changed no index. With autovacuum as the server has it by default.
 *
 *     node --conditions=@sayiir/source packages/persistence-postgres/bench/space.ts 1000000
 *
 * Workflows of ten steps; three quarters of them go through the queue after each step (claimed by
 * 50, committed in one `Promise.all`), the others with `claimNext`.
 */
import {
  type ClaimedTask,
  createSnapshot,
  type PersistentBackend,
  type TaskOutcome,
} from '@sayiir/persistence-core'
import { PostgresBackend } from '@sayiir/persistence-postgres'
import { startService } from '@sayiir/services'
import postgres from 'postgres'

const STEPS = 10
const BATCH = 50
const TTL_MS = 600_000
const PAYLOAD: Uint8Array = new Uint8Array(200).fill(120)
const commits = Number(process.argv[2] ?? 1_000_000)
const definitionHash = 'definition'

function outcomeOf({ claim }: ClaimedTask): TaskOutcome {
  const step = Number(claim.taskId.slice(5))
  return step === STEPS
    ? { kind: 'completed', output: PAYLOAD, next: { finalOutput: PAYLOAD } }
    : {
        kind: 'completed',
        output: PAYLOAD,
        next: { position: { kind: 'at-task', taskId: `step-${step + 1}` } },
      }
}

let added = 0
let done = 0

/** Keeps some hundred workflows open, as a system does that keeps up. */
async function add(backend: PersistentBackend, count: number): Promise<void> {
  const saves: Promise<unknown>[] = []
  for (; saves.length < count && added < commits / STEPS; added += 1) {
    saves.push(
      backend.saveSnapshot(
        createSnapshot({
          instanceId: `order-${added}`,
          definitionHash,
          initialInput: PAYLOAD,
          position: { kind: 'at-task', taskId: 'step-1' },
        }),
      ),
    )
  }
  await Promise.all(saves)
}

async function work(backend: PersistentBackend, index: number): Promise<void> {
  const claimNext = { ttlMs: TTL_MS, definitionHashes: [definitionHash] }
  const taken = { workerId: `w${index}`, limit: BATCH, ...claimNext }
  while (done < commits) {
    let tasks: readonly ClaimedTask[] = await backend.claimAvailableTasks(taken)
    if (tasks.length < BATCH) await add(backend, 2 * BATCH)
    while (tasks.length > 0) {
      const receipts = await Promise.all(
        tasks.map((task) =>
          backend.commitTask({
            claim: task.claim,
            outcome: outcomeOf(task),
            ...(index === 0 && { claimNext }),
          }),
        ),
      )
      done += receipts.length
      tasks = receipts.flatMap(({ next }) => next ?? [])
    }
  }
}

async function report(sql: postgres.Sql, title: string): Promise<void> {
  console.log(`\n${title}`)
  const mib = (bytes: string): string => `${(Number(bytes) / 2 ** 20).toFixed(1)} MiB`
  await sql`SELECT pg_stat_force_next_flush()`.catch(() => undefined)
  const tables = await sql`
    SELECT relname AS name, n_live_tup AS live, n_dead_tup AS dead, n_tup_upd AS updated,
      n_tup_hot_upd AS hot, autovacuum_count AS vacuums, pg_relation_size(relid) AS bytes
    FROM pg_stat_user_tables WHERE schemaname = 'space' AND relname IN ('work', 'result', 'instance_count')
    ORDER BY 1`
  for (const { name, live, dead, updated, hot, vacuums, bytes } of tables) {
    const share =
      Number(updated) === 0
        ? ''
        : `, ${((100 * Number(hot)) / Number(updated)).toFixed(0)} % of updates HOT`
    console.log(
      `${name}: ${mib(bytes)}, ${live} rows, ${dead} dead${share}, ${vacuums} autovacuums`,
    )
  }
  const indexes = await sql`
    SELECT indexrelname AS name, pg_relation_size(indexrelid) AS bytes FROM pg_stat_user_indexes
    WHERE schemaname = 'space' AND relname IN ('work', 'result', 'instance_count') ORDER BY 1`
  for (const { name, bytes } of indexes) console.log(`  ${name}: ${mib(bytes)}`)
}

const server = await startService('postgres')
const sql = postgres(server.url, { max: 1, onnotice: () => {} })
try {
  await using backend = await PostgresBackend.connect({ url: server.url, schema: 'space' })
  const started = performance.now()
  await Promise.all([0, 1, 2, 3].map((index) => work(backend, index)))
  const seconds = (performance.now() - started) / 1000
  console.log(`${done} commits in ${seconds.toFixed(0)} s`)
  await report(sql, 'at once after the last commit')
  const at = performance.now()
  await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 1000 })
  console.log(`a claim, nothing to do: ${(performance.now() - at).toFixed(1)} ms`)
  for (const table of ['work', 'result', 'instance_count'])
    await sql.unsafe(`VACUUM space.${table}`)
  await report(sql, 'after VACUUM')
} finally {
  await sql.end()
  await server.stop()
}
