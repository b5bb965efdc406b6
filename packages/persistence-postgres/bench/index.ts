import { bench } from '@sayiir/bench'
import { postgresPeers } from '@sayiir/bench/peers'
import { startService } from '@sayiir/services'
import postgres from 'postgres'

await bench({
  name: 'postgres',
  start: async () => {
    const service = await startService('postgres')
    const sql = postgres(service.url, { max: 1, onnotice: () => {} })
    return {
      ...service,
      async stop() {
        await sql.end()
        await service.stop()
      },
      async bytes() {
        const [row] = await sql`
          SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 AS wal`
        return { 'WAL bytes': Number(row?.wal) }
      },
      async counters() {
        const [row] = await sql`
          SELECT xact_commit::float8 AS commits FROM pg_stat_database
          WHERE datname = current_database()`
        return { commits: Number(row?.commits) }
      },
    }
  },
  backend: import.meta.resolve('./backend.ts'),
  floor: import.meta.resolve('@sayiir/bench/floors/postgres'),
  peers: postgresPeers,
  aims: {
    'W1:batch50:1x10': { atLeast: 4 },
    'W1:claimNext:1x10': { atLeast: 1.3 },
    'W2:claimNext:1x10': { atLeast: 1 },
    'W3:backend:p50': { atMost: 1.3 },
    'W3:backend:p99': { atMost: 1.3 },
    'ENQ:backend:10 in flight': { atLeast: 0.6 },
    'ENQ:backend:waking / not': { atLeast: 0.5 },
    'ENQ:backend:many at once': { atLeast: 5 },
    'W4:all alike:100,000 pending': { atMost: 1.5 },
    'W4:all alike:1,000,000 / 1,000': { atMost: 2 },
    'W4:other tags:1,000,000 / 1,000': { atMost: 2 },
    'W4:other definitions:1,000,000 / 1,000': { atMost: 2 },
    'W4:not yet due:1,000,000 / 1,000': { atMost: 2 },
    'S6:commitTask: WAL bytes:step 1,000': { atMost: 1.5 },
    'S6:saveSnapshot: WAL bytes:step 1,000': { atMost: 1.5 },
  },
})
