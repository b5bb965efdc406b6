import type { Case } from '../case.ts'
import type { Definition, Place } from '../definition.ts'
import type { Figure } from '../figure.ts'
import type { Contender } from '../host.ts'
import type { Lab } from '../lab.ts'
import { median } from '../numbers.ts'
import type { CrowdName } from '../subject.ts'

const CROWDS: readonly CrowdName[] = ['all alike', 'other tags', 'other definitions', 'not yet due']
const WARM_UP = 50
const TURN = 25

/** `W4`: the time to claim one, with few and with many pending (rule D8). */
export function deepQueues({ backend, floor }: Definition): Case[] {
  const own: Contender = { kind: 'backend', module: backend }
  return [
    deepCase('floor', { kind: 'floor', module: floor }, 'all alike'),
    ...CROWDS.map((crowd) => deepCase(crowd, own, crowd)),
  ]
}

function deepCase(what: string, contender: Contender, crowd: CrowdName): Case {
  return {
    id: `W4:${what}`,
    workload: 'W4',
    needs: 'W4:floor',
    async run(lab) {
      const times = await claimTimes(lab, contender, crowd)
      const [first = 0] = lab.sizes.depths
      return lab.sizes.depths.flatMap((depth, index): Figure[] => {
        const value = median(times[index] as number[])
        const count = (many: number): string => many.toLocaleString('en')
        const setting = `${count(depth)} pending`
        const figure: Figure = { workload: 'W4', what, setting, value }
        return [
          { ...figure, than: `W4:floor:${setting}` },
          ...(index === 0
            ? []
            : [
                {
                  ...figure,
                  setting: `${count(depth)} / ${count(first)}`,
                  than: `W4:${what}:${count(first)} pending`,
                },
              ]),
        ]
      })
    },
  }
}

/** The times at every depth, taken in turns: a machine's disk is not the same a second later. */
async function claimTimes(
  lab: Lab,
  contender: Contender,
  crowd: CrowdName,
): Promise<readonly number[][]> {
  const { depths, claims } = lab.sizes
  const control = lab.control(contender)
  const open: Place[] = []
  try {
    for (const depth of depths) {
      const place = lab.place(1)
      await control.call('open', contender, place)
      open.push(place)
      await control.call('create', place.namespace)
      const own = Math.min(depth, WARM_UP + claims + 50)
      await control.call('deepen', place.namespace, crowd, depth, own)
    }
    const take = ({ namespace }: Place, count: number) =>
      control.call('claimTimes', namespace, crowd, count)
    for (const place of open) await take(place, WARM_UP)
    const times = open.map((): number[] => [])
    for (let taken = 0; taken < claims; taken += TURN) {
      for (const [index, place] of open.entries()) {
        times[index]?.push(...(await take(place, Math.min(TURN, claims - taken))))
      }
    }
    return times
  } finally {
    for (const { namespace } of open) await control.call('close', namespace, true)
  }
}
