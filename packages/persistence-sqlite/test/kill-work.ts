/** The tasks of each instance that the killed process works on, in order. */
export const TASKS: readonly string[] = ['task-0', 'task-1', 'task-2', 'task-3', 'task-4']

/** Outputs of an instance that is saved over and over, each time whole. */
export const OUTPUTS = 20

/** What the killed process tells before (`trying`) and after a call. */
export type Line =
  | { readonly did: 'saved'; readonly instanceId: string; readonly revision: number }
  | { readonly did: 'claimed'; readonly claim: Claim }
  | { readonly did: 'trying'; readonly claim: Claim }
  | {
      readonly did: 'committed'
      readonly claim: Claim
      readonly revision: number
      readonly next: Claim | null
    }
  | { readonly did: 'sending'; readonly instanceId: string; readonly event: string }
  | { readonly did: 'sent'; readonly instanceId: string; readonly event: string }

/** A claim as it is told. */
export interface Claim {
  readonly instanceId: string
  readonly taskId: string
  readonly workerId: string
  readonly token: number
}

/** Bytes that follow from what they belong to: 1 to some 9,000, so some fill several pages. */
export function bytesOf(...of: readonly (string | number)[]): Uint8Array {
  const text = `${of.join('/')};`
  let sum = 0
  for (let index = 0; index < text.length; index += 1)
    sum = (sum * 31 + text.charCodeAt(index)) % 1_000_003
  return new TextEncoder().encode(text.repeat(1 + (sum % 7) ** 3))
}
