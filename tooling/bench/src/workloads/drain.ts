import type { Case } from '../case.ts'
import type { Definition, WorkloadName } from '../definition.ts'
import type { Figure } from '../figure.ts'
import type { Contender } from '../host.ts'
import type { Lab } from '../lab.ts'
import { now } from '../numbers.ts'
import type { BenchProcess } from '../process.ts'
import { STEPS } from '../sizes.ts'
import type { Work, WorkKind } from '../subject.ts'

/** How work is worked off: a row of the table. */
interface Way {
  readonly what: string
  readonly contender: Contender
  readonly mode: string
}

interface Shape {
  readonly processes: number
  readonly concurrency: number
}

const W1: readonly Shape[] = [
  { processes: 1, concurrency: 1 },
  { processes: 1, concurrency: 10 },
  { processes: 4, concurrency: 5 },
]
const W2: readonly Shape[] = W1.slice(0, 2)

/** `W1`: instances of one task, and `W2`: of ten steps. */
export function drains(definition: Definition): Case[] {
  const floor: Contender = { kind: 'floor', module: definition.floor }
  const backend: Contender = { kind: 'backend', module: definition.backend }
  const peers = (workload: WorkloadName): Way[] =>
    (definition.peers ?? [])
      .filter(({ workloads }) => workloads.includes(workload))
      .map(({ name, module }) => ({ what: name, contender: { kind: 'peer', module }, mode: '' }))
  const jobs: Way[] = [
    { what: 'floor', contender: floor, mode: 'one' },
    { what: 'floor fused', contender: floor, mode: 'fused' },
    { what: 'floor batch50', contender: floor, mode: 'batch50' },
    { what: 'one', contender: backend, mode: 'one' },
    { what: 'claimNext', contender: backend, mode: 'claimNext' },
    { what: 'batch50', contender: backend, mode: 'batch50' },
    ...peers('W1'),
  ]
  const steps: Way[] = [
    { what: 'floor', contender: floor, mode: 'one' },
    { what: 'claimNext', contender: backend, mode: 'claimNext' },
    ...peers('W2'),
  ]
  return [
    ...W1.flatMap((shape) => jobs.map((way) => drainCase('W1', 'jobs', way, shape))),
    ...W2.flatMap((shape) => steps.map((way) => drainCase('W2', 'steps', way, shape))),
  ]
}

function drainCase(workload: 'W1' | 'W2', kind: WorkKind, way: Way, shape: Shape): Case {
  const setting = `${shape.processes}x${shape.concurrency}`
  const than = `${workload}:floor:${setting}`
  return {
    id: `${workload}:${way.what}:${setting}`,
    workload,
    needs: than,
    warmUp: true,
    async run(lab) {
      const count = kind === 'steps' ? lab.sizes.instances : lab.sizes.jobs
      const drained = await drain(lab, kind, way, shape, count)
      if (drained === null) return []
      const figure: Figure = { workload, what: way.what, setting, value: drained.rate, than }
      return [{ ...figure, capped: drained.capped }]
    },
  }
}

interface Drained {
  /** Jobs or steps a second. */
  readonly rate: number
  readonly capped: boolean
}

/** Fills a fresh namespace and works it off; null if the contender has no such mode. */
async function drain(
  lab: Lab,
  kind: WorkKind,
  { contender, mode }: Way,
  { processes, concurrency }: Shape,
  count: number,
): Promise<Drained | null> {
  const place = lab.place(kind === 'steps' ? 'W2' : 'W1', 10)
  return lab.with(contender, place, async (control, modes) => {
    if (!modes.includes(mode)) return null
    const { namespace } = place
    await control.call('fill', namespace, kind, count)
    // The first process of a contender is its control: the workers are the others.
    const workers = lab.processes(contender, processes + 1).slice(1)
    await Promise.all(
      workers.map(async (worker) => {
        await worker.call('open', contender, { ...place, concurrency })
        await worker.call('warm', namespace)
      }),
    )
    try {
      const total = kind === 'steps' ? count * STEPS : count
      const drained = await race(
        control,
        workers,
        { kind, mode, concurrency },
        namespace,
        total,
        lab,
      )
      if (!drained.capped) await control.call('verify', namespace, kind, count)
      return drained
    } finally {
      await Promise.all(workers.map((worker) => worker.call('close', namespace, false)))
    }
  })
}

/** Lets the workers work until so much is done, or the time is up. */
async function race(
  control: BenchProcess,
  workers: readonly BenchProcess[],
  plan: Work,
  namespace: string,
  total: number,
  lab: Lab,
): Promise<Drained> {
  const done = Promise.withResolvers<'done' | 'capped'>()
  const progress = workers.map(() => ({ count: 0, lastAt: 0 }))
  const counted = (): number => progress.reduce((sum, { count }) => sum + count, 0)
  workers.forEach((worker, index) => {
    worker.progressed = (news) => {
      progress[index] = news
      if (counted() >= total) done.resolve('done')
    }
  })
  const timer = setTimeout(() => done.resolve('capped'), lab.sizes.capMs)
  const start = now()
  const works = workers.map((worker) => worker.call('work', namespace, plan))
  for (const work of works) work.catch(done.reject)
  try {
    const end = await done.promise
    const stopped = now()
    const emptied = end === 'done' ? await control.call('emptied', namespace) : null
    await Promise.all(workers.map((worker) => worker.call('stop', namespace)))
    await Promise.all(works)
    if (end === 'done' && counted() !== total) {
      throw new Error(`${counted()} completions of ${total}`)
    }
    const last =
      end === 'capped' ? stopped : (emptied ?? Math.max(...progress.map(({ lastAt }) => lastAt)))
    return { rate: (counted() / (last - start)) * 1000, capped: end === 'capped' }
  } finally {
    clearTimeout(timer)
  }
}
