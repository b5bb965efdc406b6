import { testBackendContract } from '@sayiir/persistence-core/contract'
import { inject } from 'vitest'
import { harnessOf } from './harness.ts'

// In transaction mode: no prepared statements, and notifications do not come.
testBackendContract(
  harnessOf('postgres (pgbouncer)', inject('pgbouncer'), {
    preparedStatements: false,
    wakeups: 'poll',
    pollIntervalMs: 10,
  }),
)
