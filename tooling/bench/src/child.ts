/** A process that does what its parent asks of its `Host`. */

import { Host } from './host.ts'
import type { Answer, Question } from './process.ts'

const answer = (message: Answer): void => void process.send?.(message)
const host = new Host((progress) => answer({ progress }))

process.on('message', async ({ id, method, args }: Question) => {
  try {
    const call = host[method] as (...args: unknown[]) => unknown
    answer({ id, result: await Reflect.apply(call, host, args) })
  } catch (error) {
    answer({ id, problem: error instanceof Error ? (error.stack ?? error.message) : `${error}` })
  }
})
// What is open would keep the process; nobody needs it without the parent.
process.on('disconnect', () => process.exit())
