import {
  type ClaimedEntry,
  type DispatchEntry,
  type InstanceWrite,
  isFree,
  isOpen,
  later,
} from '@sayiir/persistence-core/adapter'
import type { State } from './instance-item.ts'

/** Claims and deliveries are the store's: only what the write says of them changes. */
export function mergeEntries(
  stored: State | null,
  { after, entries }: InstanceWrite,
): Pick<State, 'entries' | 'lastTokens'> {
  const there = new Map(stored?.entries.map((entry) => [entry.taskId, entry]))
  const added = new Set(entries.added.map(({ taskId }) => taskId))
  const released = new Set(entries.released)
  const lastTokens = new Map<string, number>()
  const merged = after.entries.map((entry): DispatchEntry => {
    const { taskId } = entry
    const old = added.has(taskId) ? undefined : there.get(taskId)
    if (old === undefined) return { ...entry, claim: null, deliveries: 0 }
    const last = stored?.lastTokens.get(taskId)
    if (last !== undefined) lastTokens.set(taskId, last)
    return {
      ...entry,
      claim: released.has(taskId) ? null : old.claim,
      deliveries: old.deliveries,
    }
  })
  return { entries: merged, lastTokens }
}

/** The task of the same instance that the write claims, if it is free. */
export function claimOwn(
  state: State,
  { instanceId, claimNext, commit }: InstanceWrite,
  now: number,
): { readonly state: State; readonly claimed: ClaimedEntry } | null {
  if (claimNext?.own == null || !isOpen(state)) return null
  const { own, request } = claimNext
  const entry = state.entries.find(({ taskId }) => taskId === own)
  if (entry === undefined || !isFree(entry, now)) return null
  const { next, claims } = claim(state, [own], request, now)
  const [held] = claims
  if (held === undefined) return null
  return {
    state: commit?.taskId === own ? withoutLastToken(next, own) : next,
    claimed: { instanceId, taskId: own, ...held },
  }
}

/** The claim that comes with a commit of the same task does not make that commit forgotten. */
export function withoutLastToken(state: State, taskId: string): State {
  const lastTokens = new Map(state.lastTokens)
  lastTokens.delete(taskId)
  return { ...state, lastTokens }
}

/**
 * The state with tasks claimed, each with a token of its own.
 *
 * @param promised A token that was announced for the first of them, of this life of the instance.
 */
export function claim(
  state: State,
  taskIds: readonly string[],
  { workerId, ttlMs }: { readonly workerId: string; readonly ttlMs: number | null },
  now: number,
  promised: number | null = null,
): {
  readonly next: State
  readonly claims: readonly Pick<ClaimedEntry, 'claim' | 'deliveries'>[]
} {
  let { token } = state
  const expiresAt = ttlMs === null ? null : later(now, ttlMs)
  const lastTokens = new Map(state.lastTokens)
  const held = new Map(
    taskIds.map((taskId) => {
      token = promised !== null && promised > token ? promised : nextToken(token, now)
      lastTokens.set(taskId, token)
      return [taskId, { workerId, token, claimedAt: now, expiresAt }]
    }),
  )
  const entries = state.entries.map((entry) => {
    const got = held.get(entry.taskId)
    return got === undefined ? entry : { ...entry, claim: got, deliveries: entry.deliveries + 1 }
  })
  const byTask = new Map(entries.map((entry) => [entry.taskId, entry]))
  return {
    next: { ...state, token, entries, lastTokens },
    claims: Array.from(held, ([taskId, got]) => ({
      claim: got,
      deliveries: byTask.get(taskId)?.deliveries ?? 1,
    })),
  }
}

/** Greater than the last one of the instance, and no less than the time: see `removal.ts`. */
export function nextToken(last: number, now: number): number {
  return Math.max(last + 1, now)
}
