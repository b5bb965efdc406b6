import { Error as ERRORS, logger, parse, View } from 'vega'
import { compile, type TopLevelSpec } from 'vega-lite'
import { MEANINGS } from './figure.ts'
import type { Summary } from './summary.ts'

/** A bar chart of the ratios to the floor, as SVG; null where nothing is compared with it. */
export async function chart(
  title: string,
  backend: string,
  peers: readonly string[],
  summaries: readonly Summary[],
): Promise<string | null> {
  const bars = summaries.flatMap((summary) => barOf(summary, backend, peers))
  const parts = (['more', 'less'] as const).flatMap((better) => {
    const own = bars.filter((bar) => MEANINGS[bar.workload].better === better)
    return own.length === 0 ? [] : [part(own, better)]
  })
  if (parts.length === 0) return null
  const spec: TopLevelSpec = {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: { text: title, anchor: 'start', offset: 16 },
    background: 'white',
    padding: 16,
    vconcat: parts,
    resolve: { scale: { x: 'independent' } },
  }
  const view = new View(parse(compile(spec, { logger: logger(ERRORS) }).spec), { renderer: 'none' })
  try {
    return await view.toSVG()
  } finally {
    view.finalize()
  }
}

type Bar = ReturnType<typeof barOf>[number]

/** What is measured against a floor has a bar; the references themselves are the line at 1. */
function barOf(summary: Summary, backend: string, peers: readonly string[]) {
  const { workload, what, setting, ratio, ratios, than, key } = summary
  if (ratio === null || than === key || !than?.startsWith(`${workload}:floor:`)) return []
  if (what === 'floor' && workload !== 'ENQ') return []
  const isFloor = what.startsWith('floor')
  return [
    {
      workload,
      group: `${workload} ${setting}`,
      what,
      who: isFloor ? 'bare driver' : peers.includes(what) ? 'other library' : backend,
      ratio,
      low: Math.min(...ratios),
      high: Math.max(...ratios),
      label: ratio.toFixed(2),
    },
  ]
}

type Part = Extract<TopLevelSpec, { vconcat: unknown }>['vconcat'][number]

function part(bars: readonly Bar[], better: 'more' | 'less'): Part {
  const groups = [...new Set(bars.map(({ group }) => group))]
  const axis = better === 'more' ? 'rate' : 'time or cost'
  const x = {
    field: 'ratio',
    type: 'quantitative',
    scale: { type: 'linear', zero: true },
    title: `${axis}, as a multiple of the floor's (${better} is better)`,
  } as const
  const y = { field: 'what', type: 'nominal', title: null, sort: null } as const
  return {
    data: { values: [...bars] },
    facet: {
      row: {
        field: 'group',
        type: 'nominal',
        sort: groups,
        title: null,
        header: { labelAngle: 0, labelAlign: 'left', labelAnchor: 'middle' },
      },
    },
    spec: {
      width: 520,
      height: { step: 18 },
      layer: [
        {
          mark: { type: 'bar', height: { band: 0.7 } },
          encoding: {
            x,
            y,
            color: { field: 'who', type: 'nominal', title: null, legend: { orient: 'top' } },
          },
        },
        {
          mark: { type: 'rule', color: '#444' },
          encoding: { x: { ...x, field: 'low' }, x2: { field: 'high' }, y },
        },
        {
          mark: { type: 'text', align: 'left', dx: 6, fontSize: 10 },
          encoding: { x: { ...x, field: 'high' }, y, text: { field: 'label', type: 'nominal' } },
        },
        {
          mark: { type: 'rule', strokeDash: [4, 3], color: '#c33' },
          encoding: { x: { datum: 1 } },
        },
      ],
    },
    resolve: { scale: { y: 'independent' } },
  }
}
