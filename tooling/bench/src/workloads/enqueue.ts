import type { Case } from '../case.ts'
import type { Definition } from '../definition.ts'
import type { Figure } from '../figure.ts'
import type { Contender } from '../host.ts'

const WIDTH = 10
const SINGLE = `${WIDTH} in flight`
const MANY = 'many at once'
/** Times that many are sent at once. */
const BURSTS = 3

/** `ENQ`: new instances a second, singly and in one `Promise.all`, against single inserts. */
export function enqueues({ backend, floor, peers = [] }: Definition): Case[] {
  return [
    enqueueCase('floor', { kind: 'floor', module: floor }),
    enqueueCase('backend', { kind: 'backend', module: backend }),
    ...peers
      .filter(({ workloads }) => workloads.includes('ENQ'))
      .map(({ name, module }) => enqueueCase(name, { kind: 'peer', module })),
  ]
}

function enqueueCase(what: string, contender: Contender): Case {
  return {
    id: `ENQ:${what}`,
    workload: 'ENQ',
    needs: 'ENQ:floor',
    warmUp: true,
    async run(lab) {
      const { saves, burst } = lab.sizes
      const place = lab.place('ENQ', WIDTH)
      const { namespace } = place
      return lab.with(contender, place, async (control) => {
        const singleMs = await control.call('save', namespace, saves, WIDTH)
        let manyMs = 0
        for (let done = 0; done < BURSTS; done += 1) {
          manyMs += await control.call('save', namespace, burst, 'all')
        }
        const figure = (setting: string, value: number): Figure => {
          return { workload: 'ENQ', what, setting, value, than: `ENQ:floor:${SINGLE}` }
        }
        return [
          figure(SINGLE, (saves / singleMs) * 1000),
          figure(MANY, ((burst * BURSTS) / manyMs) * 1000),
        ]
      })
    },
  }
}
