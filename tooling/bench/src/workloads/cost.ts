import type { Case } from '../case.ts'
import type { Definition } from '../definition.ts'
import type { Figure } from '../figure.ts'
import { type Contender, Host } from '../host.ts'
import type { Lab } from '../lab.ts'
import { between, type Counts, startMeter } from './meter.ts'

const CONCURRENCY = 10

/** `COST`: what a job costs the store, beyond time. */
export function costs({ backend, floor }: Definition): Case[] {
  const own: Contender = { kind: 'backend', module: backend }
  const bare: Contender = { kind: 'floor', module: floor }
  return [
    costCase('floor', bare, 'one'),
    costCase('floor fused', bare, 'fused'),
    costCase('floor batch50', bare, 'batch50'),
    costCase('one', own, 'one'),
    costCase('claimNext', own, 'claimNext'),
    costCase('batch50', own, 'batch50'),
  ]
}

function costCase(what: string, contender: Contender, mode: string): Case {
  return {
    id: `COST:${what}`,
    workload: 'COST',
    needs: 'COST:floor',
    async run(lab) {
      const counts = (await countDrain(lab, contender, mode)) ?? {}
      return Object.entries(counts).map(([setting, total]): Figure => {
        const value = total / lab.sizes.costs
        return { workload: 'COST', what, setting, value, than: `COST:floor:${setting}` }
      })
    },
  }
}

/** Drains in this process, so that a client's own counters can be read; null without such a mode. */
async function countDrain(lab: Lab, contender: Contender, mode: string): Promise<Counts | null> {
  const { server, sizes } = lab
  await using meter = await startMeter(server)
  const place = lab.place('COST', CONCURRENCY, meter.url)
  const { namespace } = place
  // Awaited: the meter is needed until then.
  return await lab.with(contender, { ...place, url: server.url }, async (control, modes) => {
    if (!modes.includes(mode)) return null
    await control.call('fill', namespace, 'jobs', sizes.costs)
    const drained = Promise.withResolvers<void>()
    const host = new Host(({ count }) => {
      if (count >= sizes.costs) drained.resolve()
    })
    const countersBefore = (await server.counters?.(place)) ?? {}
    await host.open(contender, place)
    let counts: Counts
    try {
      await host.warm(namespace)
      const before = await meter.read(place)
      const work = host.work(namespace, { kind: 'jobs', mode, concurrency: CONCURRENCY })
      work.catch(drained.reject)
      await drained.promise
      counts = between(before, await meter.read(place))
      host.stop(namespace)
      await work
    } finally {
      await host.close(namespace, false)
    }
    return { ...counts, ...between(countersBefore, (await server.counters?.(place)) ?? {}) }
  })
}
