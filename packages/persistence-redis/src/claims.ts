import type { ClaimRequest, HeldClaim } from '@sayiir/persistence-core/adapter'
import { PLACE_LENGTH } from './places.ts'

const TIME_DIGITS = 15
/** Expiry of a claim that does not expire. */
const NEVER: string = '9'.repeat(TIME_DIGITS)
/** The last millisecond of the year 9999, as for all times. */
const LATEST_MS = 253_402_300_799_999
/** Characters of a claim before its token: two times and a place. */
const CLAIM_TIMES: number = TIME_DIGITS * 2 + PLACE_LENGTH

/** What is stored of an entry's claims. */
export interface StoredClaim {
  /** Of the last claim, whatever became of it. */
  readonly lastToken: number
  readonly deliveries: number
  /** Null: given up. */
  readonly held: HeldClaim | null
}

/** A claim that was just made. */
export function madeClaim(
  { workerId, ttlMs }: Pick<ClaimRequest, 'workerId' | 'ttlMs'>,
  at: number,
  token: number,
): HeldClaim {
  const expiresAt = ttlMs === null ? null : Math.min(at + ttlMs, LATEST_MS)
  return { workerId, token, claimedAt: at, expiresAt }
}

/** A claim from its value (see `scripts/prelude.lua`); null if there never was one. */
export function decodeClaim(value: Buffer | null): StoredClaim | null {
  if (value === null || value.length === 0) return null
  const text = value.toString()
  const [token, workerId = '', deliveries] = text.slice(CLAIM_TIMES).split('\0')
  const lastToken = Number(token)
  const expires = text.slice(0, TIME_DIGITS)
  return {
    lastToken,
    deliveries: Number(deliveries),
    held:
      workerId === ''
        ? null
        : {
            workerId,
            token: lastToken,
            claimedAt: Number(text.slice(TIME_DIGITS, TIME_DIGITS * 2)),
            expiresAt: expires === NEVER ? null : Number(expires),
          },
  }
}
