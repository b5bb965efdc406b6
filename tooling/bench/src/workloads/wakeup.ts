import { setTimeout as sleep } from 'node:timers/promises'
import type { Case } from '../case.ts'
import type { Definition } from '../definition.ts'
import type { Figure } from '../figure.ts'
import type { Contender } from '../host.ts'
import type { Lab } from '../lab.ts'
import { quantile } from '../numbers.ts'

const EVERY_MS = 50

/** `W3`: how soon an idle worker starts on a new instance that another process saves. */
export function wakeups({ backend, floor, peers = [] }: Definition): Case[] {
  return [
    wakeupCase('floor', { kind: 'floor', module: floor }),
    wakeupCase('backend', { kind: 'backend', module: backend }),
    ...peers
      .filter(({ workloads }) => workloads.includes('W3'))
      .map(({ name, module }) => wakeupCase(name, { kind: 'peer', module })),
  ]
}

function wakeupCase(what: string, contender: Contender): Case {
  return {
    id: `W3:${what}`,
    workload: 'W3',
    needs: 'W3:floor',
    async run(lab) {
      const times = await wakeupTimes(lab, contender)
      if (times === null) return []
      const figure = (setting: string, value: number): Figure => {
        return { workload: 'W3', what, setting, value, than: `W3:floor:${setting}` }
      }
      return [
        figure('p50', quantile(times.delays, 0.5)),
        figure('p99', quantile(times.delays, 0.99)),
        figure('the call itself, p50', quantile(times.calls, 0.5)),
      ]
    },
  }
}

async function wakeupTimes(lab: Lab, contender: Contender) {
  const mode = 'wakeups'
  const place = lab.place('W3', 10)
  const { namespace } = place
  return lab.with(contender, place, async (producer, modes) => {
    if (!modes.includes(mode)) return null
    const worker = lab.processes(contender, 2)[1]
    if (worker === undefined) throw new Error('there is no worker')
    await worker.call('open', contender, place)
    try {
      await worker.call('warm', namespace)
      const count = lab.sizes.wakeups
      const all = Promise.withResolvers<void>()
      worker.progressed = (progress) => {
        if (progress.count >= count) all.resolve()
      }
      const work = worker.call('work', namespace, { kind: 'wakeups', mode, concurrency: 10 })
      work.catch(all.reject)
      // Idle: what comes first would find a worker that is still looking around.
      await sleep(1000)
      const calls = await producer.call('produce', namespace, count, EVERY_MS)
      const timer = setTimeout(
        () => all.reject(new Error(`an idle worker missed some of ${count} instances`)),
        lab.sizes.capMs,
      )
      await all.promise.finally(() => clearTimeout(timer))
      await worker.call('stop', namespace)
      return { calls, delays: await work }
    } finally {
      await worker.call('close', namespace, false)
    }
  })
}
