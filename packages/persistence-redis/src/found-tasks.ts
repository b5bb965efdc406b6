import type { ClaimedEntry, FoundTask, StoredInstance } from '@sayiir/persistence-core/adapter'
import { decodeClaim, decodeInstance, decodeOutcome, splitKey, splitNewest } from './records.ts'

/** What `describe` of `scripts/dispatch.lua` replies. */
export interface Described {
  readonly records: readonly (Buffer | null)[]
  /** Of each instance its initial input and its newest output. */
  readonly payloads: readonly (Buffer | null)[]
  /** Of each instance with several entries, or none, the claims on them. */
  readonly claims: readonly (readonly (Buffer | null)[] | null)[]
}

/** Tasks that a script found, with their instances; those that are gone are left out. */
export function readFound(
  keys: readonly Buffer[],
  values: readonly (Buffer | null)[],
  described: Described,
): FoundTask[] {
  const instances = new Map<string, { stored: StoredInstance; newest: Buffer | null } | null>()
  const found: FoundTask[] = []
  for (const [index, key] of keys.entries()) {
    const { instanceId, taskId } = splitKey(key)
    let instance = instances.get(instanceId)
    if (instance === undefined) {
      const at = instances.size
      const record = described.records[at] ?? null
      const claims = described.claims[at] ?? [values[index] ?? null]
      const initialInput = described.payloads[at * 2] ?? null
      instance =
        record === null
          ? null
          : {
              stored: decodeInstance(instanceId, record, claims, {
                initialInput,
                finalOutput: null,
              }),
              newest: described.payloads[at * 2 + 1] ?? null,
            }
      instances.set(instanceId, instance)
    }
    if (instance === null) continue
    const { stored } = instance
    const inputTaskId = stored.entries.find((entry) => entry.taskId === taskId)?.inputTaskId
    const newest = inputTaskId == null ? null : splitNewest(instance.newest)
    const outcome =
      newest?.taskId === inputTaskId && newest !== null
        ? decodeOutcome(instanceId, newest.value)
        : null
    found.push({
      instanceId,
      taskId,
      stored,
      ...(outcome?.order == null ? undefined : { input: outcome.output }),
    })
  }
  return found
}

/** Tasks that a script claimed. */
export function readClaimed(
  keys: readonly Buffer[],
  values: readonly Buffer[],
  described: Described,
): ClaimedEntry[] {
  const claims = new Map(keys.map((key, index) => [key.toString(), values[index] ?? null]))
  return readFound(keys, values, described).flatMap((task) => {
    const claim = decodeClaim(claims.get(`${task.instanceId}\0${task.taskId}`) ?? null)
    return claim?.held == null ? [] : [{ ...task, claim: claim.held, deliveries: claim.deliveries }]
  })
}

/** Texts from a reply. */
export function toTexts(buffers: readonly Buffer[]): string[] {
  return buffers.map((buffer) => buffer.toString())
}
