import Table from 'cli-table3'
import type { WorkloadName } from './definition.ts'
import { MEANINGS } from './figure.ts'
import type { Summary } from './summary.ts'

/** One table for each workload: a row for what, a column for each setting. */
export function tables(summaries: readonly Summary[]): string {
  const workloads = Object.keys(MEANINGS) as WorkloadName[]
  return workloads
    .map((workload) => summaries.filter((summary) => summary.workload === workload))
    .filter((own) => own.length > 0)
    .map(table)
    .join('\n\n')
}

function table(summaries: readonly Summary[]): string {
  const settings = [...new Set(summaries.map(({ setting }) => setting))]
  const rows = [...new Set(summaries.map(({ what }) => what))]
  const [{ workload }] = summaries as [Summary]
  const table = new Table({
    head: [workload, ...settings],
    colAligns: ['left', ...settings.map(() => 'right' as const)],
    style: { head: [], border: [], compact: true },
  })
  for (const what of rows) {
    const cells = settings.map((setting) =>
      cell(summaries.find((summary) => summary.what === what && summary.setting === setting)),
    )
    table.push([what, ...cells])
  }
  return `${MEANINGS[workload].title}\n${table.toString()}`
}

function cell(summary: Summary | undefined): string {
  if (summary === undefined) return ''
  const { median, min, max, ratio, capped, missed, aim } = summary
  const range = min === max ? '' : ` (${show(min)}..${show(max)})`
  const bound = [
    ...(aim?.atLeast === undefined ? [] : [`>= ${aim.atLeast}`]),
    ...(aim?.atMost === undefined ? [] : [`<= ${aim.atMost}`]),
  ].join(', ')
  return [
    `${show(median)}${capped ? '*' : ''}${range}`,
    ...(ratio === null ? [] : [`x ${ratio.toFixed(2)}`]),
    ...(bound === '' ? [] : [`[${bound}${missed ? ' MISSED' : ''}]`]),
  ].join(' ')
}

/** Three digits that count, whole from a hundred on. */
function show(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en')
  return Number(value.toPrecision(3)).toString()
}
