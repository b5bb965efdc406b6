import { BackendError } from '@sayiir/persistence-core'
import {
  type ClaimedEntry,
  type ClaimRequest,
  type Dispatched,
  type FoundTask,
  type HeldClaim,
  isUnreadable,
  type StoredInstance,
} from '@sayiir/persistence-core/adapter'
import { decodeClaim, madeClaim, type StoredClaim } from './claims.ts'
import type { MessageReader } from './message-reader.ts'
import { decodeOutcome, splitNewest } from './outcomes.ts'
import { decodeInstance, splitKey } from './records.ts'

/** What a search came to. */
export interface Found<T extends FoundTask> extends Dispatched<T> {
  /** Why there is none of those that it found. */
  readonly failure: BackendError | null
}

/** A task that a script claimed. */
export interface MadeClaim {
  readonly instanceId: string
  readonly taskId: string
  readonly claim: HeldClaim
  readonly deliveries: number
}

/** An instance as a script described it, and its newest output. */
interface Described {
  readonly stored: StoredInstance
  readonly newest: Buffer | null
}

/** Claims from what a script packed: entry keys, tokens and deliveries, in arrays of their own. */
export function readClaims(
  reader: MessageReader,
  at: number,
  request: Pick<ClaimRequest, 'workerId' | 'ttlMs'>,
): MadeClaim[] {
  const keys = readTexts(reader)
  const tokens = readNumbers(reader)
  const deliveries = readNumbers(reader)
  return keys.map((key, index) => ({
    ...splitKey(key),
    claim: madeClaim(request, at, tokens[index] ?? 0),
    deliveries: deliveries[index] ?? 0,
  }))
}

/**
 * Tasks that a script claimed, with what it described of each; null for those that are gone, and an
 * error for those that can not be read: it must not take those with it that were claimed besides.
 */
export function readClaimed(
  reader: MessageReader,
  claims: readonly MadeClaim[],
): (ClaimedEntry | BackendError | null)[] {
  const found = readDescribed(reader, claims, (index) => {
    const { claim, deliveries } = claims[index] as MadeClaim
    return { lastToken: claim.token, deliveries, held: claim }
  })
  return found.map((task, index) => {
    if (task === null || BackendError.is(task)) return task
    const { claim, deliveries } = claims[index] as MadeClaim
    return { ...task, claim, deliveries }
  })
}

/**
 * What can be read of these; those that are gone are left out.
 *
 * @throws if there is something, and none of it can be read.
 */
export function readable<T extends FoundTask>(tasks: readonly (T | BackendError | null)[]): T[] {
  const read: T[] = []
  let failure: BackendError | null = null
  for (const task of tasks) {
    if (BackendError.is(task)) failure ??= task
    else if (task !== null) read.push(task)
  }
  if (failure !== null && read.length === 0) throw failure
  return read
}

/** What can be read of what was found, or why nothing can. */
export function orFailure<T extends FoundTask>(
  read: () => readonly T[],
): Pick<Found<T>, 'tasks' | 'failure'> {
  try {
    return { tasks: read(), failure: null }
  } catch (error) {
    if (!isUnreadable(error)) throw error
    return { tasks: [], failure: error }
  }
}

/** That nothing can be read is told only where there is nothing else. */
export function orThrow<T extends FoundTask>({ failure, ...found }: Found<T>): Dispatched<T> {
  if (failure !== null && found.tasks.length === 0) throw failure
  return found
}

/** Tasks that a script found, with their instances; those that are gone are left out. */
export function readFound(
  reader: MessageReader,
  keys: readonly string[],
  claims: readonly (Buffer | null)[],
): FoundTask[] {
  const names = keys.map(splitKey)
  return readable(readDescribed(reader, names, (index) => decodeClaim(claims[index] ?? null)))
}

/** What `describe` of `scripts/dispatch.lua` tells of tasks, in their order. */
function readDescribed(
  reader: MessageReader,
  names: readonly { readonly instanceId: string; readonly taskId: string }[],
  claimOf: (index: number) => StoredClaim | null,
): (FoundTask | BackendError | null)[] {
  reader.array()
  const described: (Described | BackendError | null)[] = []
  return names.map(({ instanceId, taskId }, index) => {
    const instance = readInstance(reader, instanceId, described, () => claimOf(index))
    described.push(instance)
    if (instance === null || BackendError.is(instance)) return instance
    const { stored, newest } = instance
    return orError(() => {
      const input = newestOf(stored, taskId, newest)
      return input === null ? { instanceId, taskId, stored } : { instanceId, taskId, stored, input }
    })
  })
}

function orError<T>(read: () => T): T | BackendError {
  try {
    return read()
  } catch (error) {
    if (BackendError.is(error)) return error
    throw error
  }
}

function readInstance(
  reader: MessageReader,
  instanceId: string,
  described: readonly (Described | BackendError | null)[],
  claimOf: () => StoredClaim | null,
): Described | BackendError | null {
  if (reader.isNumber) {
    const first = described[reader.number() - 1] ?? null
    for (let rest = 0; rest < 3; rest += 1) reader.isFalse()
    return first
  }
  const record = reader.isFalse() ? null : reader.text()
  const initialInput = reader.bytes()
  const newest = reader.view()
  const claims = reader.isFalse() ? null : readStoredClaims(reader)
  if (record === null) return null
  const payloads = { initialInput, finalOutput: null }
  return orError(() => ({
    stored: decodeInstance(instanceId, record, claims ?? [claimOf()], payloads),
    newest,
  }))
}

/** The input of a task where it is the instance's newest output. */
function newestOf(
  { entries }: StoredInstance,
  taskId: string,
  value: Buffer | null,
): Uint8Array | null {
  if (value === null) return null
  const inputTaskId = entries.find((entry) => entry.taskId === taskId)?.inputTaskId
  if (inputTaskId == null) return null
  const newest = splitNewest(value)
  if (newest?.taskId !== inputTaskId) return null
  const { order, output } = decodeOutcome(inputTaskId, newest.value)
  return order === null ? null : output
}

function readStoredClaims(reader: MessageReader): (StoredClaim | null)[] {
  return Array.from({ length: reader.array() }, () => decodeClaim(reader.view()))
}

/** An array of texts. */
export function readTexts(reader: MessageReader): string[] {
  const texts: string[] = []
  for (let left = reader.array(); left > 0; left -= 1) texts.push(reader.text())
  return texts
}

function readNumbers(reader: MessageReader): number[] {
  const numbers: number[] = []
  for (let left = reader.array(); left > 0; left -= 1) numbers.push(reader.number())
  return numbers
}

/** Texts from a reply. */
export function toTexts(buffers: readonly Buffer[]): string[] {
  return buffers.map((buffer) => buffer.toString())
}
