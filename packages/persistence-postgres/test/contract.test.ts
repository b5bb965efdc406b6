import { testBackendContract } from '@sayiir/persistence-core/contract'
import { afterAll, inject } from 'vitest'
import { harnessOf } from './harness.ts'
import { dropWorker, makeWorker } from './least-privileges.ts'

const postgres = inject('postgres')
// Rule M5: with no more rights than the README asks for.
const worker = await makeWorker(postgres.url, `contract_${process.pid}`)
afterAll(() => dropWorker(worker))

testBackendContract(harnessOf('postgres', postgres, {}, worker))
