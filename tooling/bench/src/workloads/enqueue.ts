import { setTimeout as sleep } from 'node:timers/promises'
import type { Case } from '../case.ts'
import type { Definition, Place } from '../definition.ts'
import type { Figure } from '../figure.ts'
import type { Contender } from '../host.ts'
import type { Lab } from '../lab.ts'

const WIDTH = 10
const SINGLE = `${WIDTH} in flight`
const MANY = 'many at once'
const WOKEN = `${SINGLE}, waking a worker`
/**
 * Times that many are sent at once: together about as long as the others take, so that what happens
 * once in a process's life (its heap grows, functions are compiled) is not most of it.
 */
const BURSTS = 10

/**
 * `ENQ`: new instances a second, singly, singly while another process has to be notified, and in one
 * `Promise.all`, against single inserts.
 */
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
      return lab.with(contender, place, async (control, modes) => {
        const singleMs = await control.call('save', namespace, saves, WIDTH, false)
        const wokenMs =
          contender.kind !== 'peer' && modes.includes('wakeups')
            ? await beside(lab, contender, place, () =>
                control.call('save', namespace, saves, WIDTH, true),
              )
            : null
        let manyMs = 0
        for (let done = 0; done < BURSTS; done += 1) {
          manyMs += await control.call('save', namespace, burst, 'all', false)
        }
        const figure = (setting: string, value: number): Figure => {
          return { workload: 'ENQ', what, setting, value, than: `ENQ:floor:${SINGLE}` }
        }
        const woken = wokenMs === null ? null : (saves / wokenMs) * 1000
        return [
          figure(SINGLE, (saves / singleMs) * 1000),
          ...(woken === null
            ? []
            : [
                figure(WOKEN, woken),
                { ...figure('waking / not', woken), than: `ENQ:${what}:${SINGLE}` },
              ]),
          figure(MANY, ((burst * BURSTS) / manyMs) * 1000),
        ]
      })
    },
  }
}

/** Does something while a worker in another process waits for what comes. */
async function beside<T>(
  lab: Lab,
  contender: Contender,
  place: Place,
  act: () => Promise<T>,
): Promise<T> {
  const { namespace } = place
  const worker = lab.processes(contender, 2)[1]
  if (worker === undefined) throw new Error('there is no worker')
  await worker.call('open', contender, place)
  try {
    const waiting = worker.call('work', namespace, {
      kind: 'idle',
      mode: 'wakeups',
      concurrency: 1,
    })
    // It has to listen, and to find what is there already.
    await sleep(500)
    const result = await act()
    await worker.call('stop', namespace)
    await waiting
    return result
  } finally {
    await worker.call('close', namespace, false)
  }
}
