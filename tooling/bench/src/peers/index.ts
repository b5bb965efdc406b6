import type { Peer } from '../definition.ts'

const workloads = ['W1', 'W2', 'W3', 'ENQ'] as const

/** What users of PostgreSQL would take instead, each set up for speed. */
export const postgresPeers: readonly Peer[] = [
  { name: 'pg-boss', module: import.meta.resolve('./pg-boss.ts'), workloads },
  { name: 'graphile-worker', module: import.meta.resolve('./graphile-worker.ts'), workloads },
]

/** And on Redis. */
export const redisPeers: readonly Peer[] = [
  { name: 'bullmq', module: import.meta.resolve('./bullmq.ts'), workloads },
]

/** And on MongoDB. */
export const mongoPeers: readonly Peer[] = [
  { name: 'agenda', module: import.meta.resolve('./agenda.ts'), workloads },
]
