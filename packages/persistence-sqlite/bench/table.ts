/** A line of the report. */
export interface Row {
  readonly what: string
  readonly value: string
  /** Against what the line before or the same run measured. */
  readonly ratio: number
  readonly atLeast?: number
  readonly atMost?: number
}

/** Prints the rows; whether all are within their bounds. */
export function print(rows: readonly Row[]): boolean {
  const width = Math.max(...rows.map(({ what }) => what.length))
  let good = true
  for (const { what, value, ratio, atLeast, atMost } of rows) {
    const missed = ratio < (atLeast ?? -Infinity) || ratio > (atMost ?? Infinity)
    good &&= !missed
    const bound =
      atLeast !== undefined
        ? `at least ${atLeast}`
        : atMost !== undefined
          ? `at most ${atMost}`
          : ''
    console.log(
      `${what.padEnd(width)}  ${value.padStart(11)}  ${ratio.toFixed(2).padStart(6)}  ${bound}${missed ? '  MISSED' : ''}`,
    )
  }
  return good
}

/** The middle of some numbers. */
export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1]!
}
