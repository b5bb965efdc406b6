import type { Case } from '../case.ts'
import type { Definition } from '../definition.ts'
import type { Contender } from '../host.ts'
import { quantile } from '../numbers.ts'

/** `LOAD`: an instance of many steps, loaded by a process that did not make it. */
export function loads({ backend, floor }: Definition): Case[] {
  return [
    loadCase('floor', { kind: 'floor', module: floor }),
    loadCase('backend', { kind: 'backend', module: backend }),
  ]
}

function loadCase(what: string, contender: Contender): Case {
  return {
    id: `LOAD:${what}`,
    workload: 'LOAD',
    needs: 'LOAD:floor',
    async run(lab) {
      const place = lab.place('LOAD', 1)
      const { namespace } = place
      const { history, loads: count } = lab.sizes
      const setting = `${history.toLocaleString('en')} steps`
      const times = await lab.with(contender, place, async (control, modes) => {
        const reader = lab.processes(contender, 2)[1]
        if (!modes.includes('loads') || reader === undefined) return null
        await control.call('lengthen', namespace, history)
        await reader.call('open', contender, place)
        try {
          // The first ones find code that is not compiled.
          await reader.call('loadTimes', namespace, history, Math.ceil(count / 5))
          return await reader.call('loadTimes', namespace, history, count)
        } finally {
          await reader.call('close', namespace, false)
        }
      })
      if (times === null) return []
      const value = quantile(times, 0.5)
      return [{ workload: 'LOAD', what, setting, value, than: `LOAD:floor:${setting}` }]
    },
  }
}
