import type { InstanceStatus } from '@sayiir/persistence-core'

/** Statuses by the character that stands for them. */
const STATUSES: Readonly<Record<string, InstanceStatus>> = {
  i: 'in-progress',
  p: 'paused',
  c: 'completed',
  f: 'failed',
  x: 'cancelled',
}
const STATUS_CHARACTERS = Object.fromEntries(
  Object.entries(STATUSES).map(([character, status]) => [status, character]),
) as Readonly<Record<InstanceStatus, string>>

/** A status as one character. */
export function statusCharacter(status: InstanceStatus): string {
  return STATUS_CHARACTERS[status]
}

/** The status that a character stands for. */
export function statusOf(character: string): InstanceStatus {
  return STATUSES[character] as InstanceStatus
}
