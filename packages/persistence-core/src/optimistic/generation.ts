/** Generations that have all but their last two digits in common. */
const BATCH = 256

const ENDS: readonly string[] = Array.from({ length: BATCH }, (_, end) =>
  end.toString(16).padStart(2, '0'),
)

let start = ''
let used = BATCH

/**
 * Tells an instance from all others that ever have its id: a UUID. Most of it is drawn anew for every
 * 256 only, because one made by `crypto.randomUUID` is put together of twenty strings, which all stay
 * until it is sent.
 */
export function newGeneration(): string {
  if (used === BATCH) {
    start = crypto.randomUUID().slice(0, -2)
    used = 0
  }
  const end = ENDS[used]
  used += 1
  return `${start}${end}`
}
