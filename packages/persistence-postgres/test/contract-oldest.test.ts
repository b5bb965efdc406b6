import { testBackendContract } from '@sayiir/persistence-core/contract'
import { inject } from 'vitest'
import { harnessOf } from './harness.ts'

testBackendContract(harnessOf('postgres (oldest)', inject('postgres-oldest')))
