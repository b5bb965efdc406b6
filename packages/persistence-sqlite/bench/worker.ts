import { once } from 'node:events'
import { type Mode, work } from './steps.ts'

const [, , mode, path, workerId, count] = process.argv
process.send?.('ready')
await once(process, 'message')
await work(mode as Mode, path!, workerId!, Number(count))
process.disconnect?.()
