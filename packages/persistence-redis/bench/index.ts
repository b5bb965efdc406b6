import { bench } from '@sayiir/bench'
import { redisPeers } from '@sayiir/bench/peers'
import { startService } from '@sayiir/services'
import { Redis } from 'ioredis'

await bench({
  name: 'redis',
  start: async () => {
    const service = await startService('redis')
    const redis = new Redis(service.url)
    return {
      ...service,
      async stop() {
        redis.disconnect()
        await service.stop()
      },
      async bytes() {
        const info = await redis.info('persistence')
        return { 'AOF bytes': Number(/aof_current_size:(\d+)/.exec(info)?.[1]) }
      },
      async counters() {
        const info = await redis.info('stats')
        return { commands: Number(/total_commands_processed:(\d+)/.exec(info)?.[1]) }
      },
    }
  },
  backend: import.meta.resolve('./backend.ts'),
  floor: import.meta.resolve('@sayiir/bench/floors/redis'),
  peers: redisPeers,
  aims: {
    'W1:batch50:1x10': { atLeast: 3 },
    'W1:claimNext:1x10': { atLeast: 1.3 },
    'W2:claimNext:1x10': { atLeast: 0.8 },
    'W3:backend:p50': { atMost: 1.3 },
    'W4:all alike:1,000,000 / 1,000': { atMost: 1.5 },
    'W4:other tags:1,000,000 / 1,000': { atMost: 1.5 },
    'W4:other definitions:1,000,000 / 1,000': { atMost: 1.5 },
    'W4:not yet due:1,000,000 / 1,000': { atMost: 1.5 },
    'S6:commitTask: AOF bytes:step 1,000': { atMost: 1.5 },
    'S6:saveSnapshot: AOF bytes:step 1,000': { atMost: 1.5 },
  },
})
