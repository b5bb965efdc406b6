import type { Aim, WorkloadName } from './definition.ts'
import { type Figure, keyOf } from './figure.ts'
import { median } from './numbers.ts'

/** A figure over all repetitions. */
export interface Summary {
  readonly key: string
  readonly workload: WorkloadName
  readonly what: string
  readonly setting: string
  readonly values: readonly number[]
  readonly median: number
  readonly min: number
  readonly max: number
  /** Each within its repetition: a machine is not the same a minute later. */
  readonly ratios: readonly number[]
  /** The median of the ratios; null for what is compared with nothing. */
  readonly ratio: number | null
  readonly than: string | null
  readonly capped: boolean
  readonly aim: Aim | null
  readonly missed: boolean
}

/** Sums up repetitions. */
export function summarize(
  repetitions: readonly (readonly Figure[])[],
  aims: Readonly<Record<string, Aim>> = {},
): Summary[] {
  const summaries = new Map<string, { figure: Figure; values: number[]; ratios: number[] }>()
  const capped = new Set<string>()
  for (const figures of repetitions) {
    const byKey = new Map(figures.map((figure) => [keyOf(figure), figure.value]))
    for (const figure of figures) {
      const key = keyOf(figure)
      const summary = summaries.get(key) ?? { figure, values: [], ratios: [] }
      summaries.set(key, summary)
      summary.values.push(figure.value)
      const base = figure.than === undefined ? undefined : byKey.get(figure.than)
      if (base !== undefined && base > 0) summary.ratios.push(figure.value / base)
      if (figure.capped) capped.add(key)
    }
  }
  return [...summaries].map(([key, { figure, values, ratios }]) => {
    const ratio = ratios.length > 0 ? median(ratios) : null
    const aim = aims[key] ?? null
    return {
      key,
      workload: figure.workload,
      what: figure.what,
      setting: figure.setting,
      values,
      median: median(values),
      min: Math.min(...values),
      max: Math.max(...values),
      ratios,
      ratio,
      than: figure.than ?? null,
      capped: capped.has(key),
      aim,
      missed:
        aim !== null &&
        ratio !== null &&
        (ratio < (aim.atLeast ?? -Infinity) || ratio > (aim.atMost ?? Infinity)),
    }
  })
}

/** Keys of aims at what was not measured: failures of a whole run. */
export function unmeasured(
  summaries: readonly Summary[],
  aims: Readonly<Record<string, Aim>> = {},
): string[] {
  const measured = new Set(summaries.map(({ key }) => key))
  return Object.keys(aims).filter((key) => !measured.has(key))
}
