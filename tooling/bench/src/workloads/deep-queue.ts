import type { Case } from '../case.ts'
import type { Definition, Place } from '../definition.ts'
import type { Figure } from '../figure.ts'
import type { Contender } from '../host.ts'
import type { Lab } from '../lab.ts'
import { median } from '../numbers.ts'
import type { CrowdName } from '../subject.ts'

const CROWDS = [
  'all alike',
  'other tags',
  'other definitions',
  'not yet due',
] as const satisfies readonly CrowdName[]
const BASE = `W4:${CROWDS[0]}`
const WARM_UP = 50
const TURN = 25

/** `W4`: the time to claim one, with few and with many pending (rule D8). */
export function deepQueues({ backend: module, floor: floorModule }: Definition): Case[] {
  const backend: Contender = { kind: 'backend', module }
  const floor: Contender = { kind: 'floor', module: floorModule }
  const [alike, ...others] = CROWDS
  return [
    deepCase(`${BASE}:floor`, [
      { what: 'floor', contender: floor, crowd: alike },
      { what: alike, contender: backend, crowd: alike },
    ]),
    ...others.map((crowd) => deepCase(`W4:${crowd}`, [{ what: crowd, contender: backend, crowd }])),
  ]
}

interface Queue {
  /** The row of the table. */
  readonly what: string
  readonly contender: Contender
  readonly crowd: CrowdName
}

function deepCase(id: string, queues: readonly Queue[]): Case {
  return {
    id,
    workload: 'W4',
    needs: `${BASE}:floor`,
    async run(lab) {
      const { depths } = lab.sizes
      const times = await claimTimes(
        lab,
        queues.flatMap((queue) => depths.map((depth) => ({ ...queue, depth }))),
      )
      return times.flatMap(({ what, depth, ms }) => figuresOf(what, depth, depths[0] ?? 0, ms))
    },
  }
}

/** Against the floor at the same depth, and against itself with the fewest. */
function figuresOf(what: string, depth: number, first: number, ms: readonly number[]): Figure[] {
  const count = (many: number): string => many.toLocaleString('en')
  const setting = `${count(depth)} pending`
  const figure: Figure = { workload: 'W4', what, setting, value: median(ms) }
  const deeper: Figure = {
    ...figure,
    setting: `${count(depth)} / ${count(first)}`,
    than: `W4:${what}:${count(first)} pending`,
  }
  return [{ ...figure, than: `W4:floor:${setting}` }, ...(depth === first ? [] : [deeper])]
}

interface Deep extends Queue {
  readonly depth: number
}

/** The times at every depth, taken in turns: a machine's disk is not the same a second later. */
async function claimTimes(lab: Lab, queues: readonly Deep[]) {
  const { depths } = lab.sizes
  const claims = Math.min(lab.sizes.claims, Math.ceil((depths[0] ?? 0) / 2))
  const warmUp = Math.min(WARM_UP, Math.floor(claims / 4))
  const open: { queue: Deep; place: Place; ms: number[] }[] = []
  const take = async ({ queue, place, ms }: (typeof open)[number], count: number) => {
    const control = lab.control(queue.contender)
    ms.push(...(await control.call('claimTimes', place.namespace, queue.crowd, count)))
  }
  try {
    for (const queue of queues) {
      const place = lab.place('W4', 1)
      const control = lab.control(queue.contender)
      await control.call('open', queue.contender, place)
      open.push({ queue, place, ms: [] })
      await control.call('create', place.namespace)
      const { crowd, depth } = queue
      await control.call('deepen', place.namespace, crowd, depth, warmUp + claims)
    }
    for (const one of open) await take(one, warmUp)
    for (const { ms } of open) ms.length = 0
    for (let taken = 0; taken < claims; taken += TURN) {
      for (const one of open) await take(one, Math.min(TURN, claims - taken))
    }
    return open.map(({ queue, ms }) => ({ ...queue, ms }))
  } finally {
    for (const { queue, place } of open) {
      await lab.control(queue.contender).call('close', place.namespace, true)
    }
  }
}
