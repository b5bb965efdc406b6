import { randomUUID } from 'node:crypto'
import type { WorkflowSnapshot } from '@sayiir/persistence-core'
import { createSnapshot } from '@sayiir/persistence-core'
import { DynamoDBBackend, type DynamoDBConnectOptions } from '@sayiir/persistence-dynamodb'
import { inject, onTestFinished } from 'vitest'
import { place } from './process.ts'

/** Keys that no other test uses. */
export function namespace(): string {
  return `t${randomUUID().slice(0, 8)}`
}

/** A backend that is closed after the test. */
export async function open(options: DynamoDBConnectOptions = {}): Promise<DynamoDBBackend> {
  const backend = await DynamoDBBackend.connect({
    ...place(inject('dynamodb').url),
    keyPrefix: namespace(),
    ...options,
  })
  onTestFinished(() => backend.close())
  return backend
}

/** An instance at a task, not stored. */
export function atTask(
  instanceId: string,
  taskId = 'a',
  initialInput: Uint8Array = new Uint8Array(1),
): WorkflowSnapshot {
  return createSnapshot({
    instanceId,
    definitionHash: 'definition',
    initialInput,
    position: { kind: 'at-task', taskId },
  })
}
