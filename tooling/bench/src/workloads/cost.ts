import { setTimeout as sleep } from 'node:timers/promises'
import type { Case } from '../case.ts'
import type { Definition, Place } from '../definition.ts'
import type { Figure } from '../figure.ts'
import { type Contender, Host } from '../host.ts'
import type { Lab } from '../lab.ts'
import { between, type Counts, type Meter, startMeter } from './meter.ts'

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
  await using meter = await startMeter(lab.server)
  const place = lab.place('COST', CONCURRENCY)
  const modes = await alone(contender, place, async (host) => {
    await host.create(place.namespace)
    await host.fill(place.namespace, 'jobs', lab.sizes.costs)
  })
  try {
    if (!modes.includes(mode)) return null
    const before = await countersOf(lab, place)
    const counts = await measure(
      contender,
      { ...place, url: meter.url },
      mode,
      meter,
      lab.sizes.costs,
    )
    return { ...counts, ...between(before, await countersOf(lab, place)) }
  } finally {
    await alone(contender, place, () => Promise.resolve(), true)
  }
}

/** Counts what so many jobs cost from the moment when the subject is warm. */
async function measure(
  contender: Contender,
  place: Place,
  mode: string,
  meter: Meter,
  count: number,
): Promise<Counts> {
  const { namespace } = place
  const drained = Promise.withResolvers<void>()
  const host = new Host((progress) => {
    if (progress.count >= count) drained.resolve()
  })
  await host.open(contender, place)
  try {
    await host.warm(namespace)
    const before = await meter.read(place)
    const work = host.work(namespace, { kind: 'jobs', mode, concurrency: CONCURRENCY })
    work.catch(drained.reject)
    await drained.promise
    const counts = between(before, await meter.read(place))
    host.stop(namespace)
    await work
    return counts
  } finally {
    await host.close(namespace, false)
  }
}

/** Opens a subject for one thing: no connection of it is left that tells the server of its work later. */
async function alone(
  contender: Contender,
  place: Place,
  use: (host: Host) => Promise<void>,
  drop = false,
): Promise<readonly string[]> {
  const host = new Host()
  const modes = await host.open(contender, place)
  try {
    await use(host)
  } finally {
    await host.close(place.namespace, drop)
  }
  return modes
}

/** Once the server has noticed that connections were closed. */
async function countersOf({ server }: Lab, place: Place): Promise<Counts> {
  if (server.counters === undefined) return {}
  await sleep(300)
  return server.counters(place)
}
