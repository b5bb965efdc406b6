import { BackendError, type TaskResult } from '@sayiir/persistence-core'
import {
  type CommitRecord,
  type OptimisticStore,
  quote,
  type StoredInstance,
} from '@sayiir/persistence-core/adapter'
import type { EventQueue } from './event-queue.ts'
import type { State, TailResult } from './instance-item.ts'
import type { InstanceStore, Parts } from './instance-store.ts'
import { mergeTail } from './results.ts'
import { mustDiffer } from './unreadable.ts'

/** Reads in a row that others may make useless by writing. */
const MAX_TRIES = 100

type Reads = Pick<OptimisticStore, 'read' | 'readWhole' | 'readOutputs' | 'readCommit'>

/** What is stored of instances, read: strongly consistent. */
export class DynamoDBSnapshotStore implements Reads {
  readonly #parts: Parts
  readonly #instances: InstanceStore
  readonly #events: EventQueue

  constructor(parts: Parts, instances: InstanceStore, events: EventQueue) {
    this.#parts = parts
    this.#instances = instances
    this.#events = events
  }

  async read(
    instanceId: string,
    event?: { readonly signalName: string; readonly eventId: string },
  ): Promise<{ now: number; stored: StoredInstance | null; isKnownEvent: boolean }> {
    const known = await this.#instances.read(instanceId)
    const stored = known?.state ?? null
    const isKnownEvent =
      stored !== null &&
      event !== undefined &&
      (await this.#events.isKnown(instanceId, stored.life, event))
    return { now: this.#instances.now, stored, isKnownEvent }
  }

  async readWhole(instanceId: string): Promise<{
    now: number
    stored: StoredInstance
    results: readonly TaskResult[]
  } | null> {
    let state = (await this.#instances.read(instanceId))?.state ?? null
    let before = ''
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      if (state === null) return null
      const results = await this.#results(instanceId, state)
      // Those in items of their own were read after the instance: nobody may have written between.
      const again: State | null = state.hasResults
        ? ((await this.#instances.read(instanceId))?.state ?? null)
        : state
      const isSame = again?.generation === state.generation && again.version === state.version
      if (isSame && results !== null) return { now: this.#instances.now, stored: state, results }
      if (isSame) before = mustDiffer(instanceId, versionOf(state), before)
      state = isSame ? ((await this.#instances.read(instanceId))?.state ?? null) : again
    }
    throw tooBusy(instanceId)
  }

  async readOutputs(
    instanceId: string,
    taskIds: readonly string[],
  ): Promise<ReadonlyMap<string, Uint8Array> | null> {
    let before = ''
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const known = await this.#instances.read(instanceId)
      if (known === null) return null
      const { state } = known
      const found = new Map<string, TailResult>()
      const inTail = new Set<string>()
      for (const { taskId, result } of mergeTail(state.tail)) {
        if (result === undefined) continue
        inTail.add(taskId)
        if (result !== null) found.set(taskId, result)
      }
      const missing = taskIds.filter((taskId) => !inTail.has(taskId))
      if (missing.length > 0 && state.hasResults) {
        const apart = await this.#parts.results.read(instanceId, state.epoch, missing)
        for (const [taskId, result] of apart) found.set(taskId, result)
      }
      const wanted = new Map(
        taskIds.flatMap((taskId) => {
          const result = found.get(taskId)
          return result === undefined ? [] : [[taskId, result] as const]
        }),
      )
      const outputs = await this.#outputs(instanceId, wanted)
      if (outputs !== null) return outputs
      before = mustDiffer(instanceId, versionOf(state), before)
    }
    throw tooBusy(instanceId)
  }

  async readCommit(instanceId: string, taskId: string): Promise<CommitRecord | null> {
    const known = await this.#instances.read(instanceId)
    if (known === null) return null
    const { state } = known
    const entry = state.tail.findLast((one) => one.taskId === taskId && one.record !== undefined)
    const record =
      entry !== undefined || !state.hasResults
        ? (entry?.record ?? null)
        : await this.#parts.results.readRecord(instanceId, state.epoch, taskId)
    // Since the task was claimed again, the commit before that no longer counts (rule D6).
    const last = state.lastTokens.get(taskId) ?? 0
    return record === null || record.token < last ? null : record
  }

  /** All results in order; null: one is gone, so the instance was written meanwhile. */
  async #results(instanceId: string, state: State): Promise<TaskResult[] | null> {
    const results = new Map<string, TailResult>()
    if (state.hasResults) {
      const apart = await this.#parts.results.readAll(instanceId, state.epoch)
      for (const [taskId, { version, result }] of apart) {
        if (version > state.version) return null
        if (result !== null) results.set(taskId, result)
      }
    }
    for (const { taskId, result } of mergeTail(state.tail)) {
      if (result === undefined) continue
      if (result === null) results.delete(taskId)
      else results.set(taskId, result)
    }
    const outputs = await this.#outputs(instanceId, results)
    if (outputs === null) return null
    return [...results.entries()]
      .sort(([, a], [, b]) => a.order - b.order)
      .map(([taskId]) => ({ taskId, output: outputs.get(taskId) ?? new Uint8Array(0) }))
  }

  async #outputs(
    instanceId: string,
    results: ReadonlyMap<string, TailResult>,
  ): Promise<Map<string, Uint8Array> | null> {
    const outputs = await Promise.all(
      Array.from(results, async ([taskId, result]) => {
        const output = await this.#parts.results.output(instanceId, result)
        return [taskId, output] as const
      }),
    )
    const map = new Map<string, Uint8Array>()
    for (const [taskId, output] of outputs) {
      if (output === null) return null
      // What is remembered here is not for callers to write into.
      map.set(taskId, output.slice())
    }
    return map
  }
}

function versionOf({ generation, version }: State): string {
  return `${generation}:${version}`
}

function tooBusy(instanceId: string): BackendError {
  return new BackendError(
    'UNAVAILABLE',
    `instance ${quote(instanceId)} is changed too often to be read; try again later`,
    { instanceId },
  )
}
