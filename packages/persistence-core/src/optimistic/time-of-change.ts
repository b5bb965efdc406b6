import type { StoredInstance } from './store.ts'

/** Milliseconds by which the time of a change may be off from the store's clock. */
export const CLOCK_TOLERANCE_MS = 250
/** Milliseconds by which two processes' ideas of the time differ at most; less than the tolerance. */
const MAX_AHEAD_MS = 200

/**
 * Epoch milliseconds that a change is worked out for. Another process may have a better idea of the
 * time: what it wrote is not in the future. Where it is further ahead the store's clock was set
 * back, and goes on from there.
 */
export function timeOfChange({ head, entries }: StoredInstance, now: number): number {
  let latest = head.updatedAt
  for (const { claim } of entries) if (claim !== null) latest = Math.max(latest, claim.claimedAt)
  return latest > now && latest - now <= MAX_AHEAD_MS ? latest : now
}
