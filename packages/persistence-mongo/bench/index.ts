import { bench } from '@sayiir/bench'
import { mongoPeers } from '@sayiir/bench/peers'
import { startService } from '@sayiir/services'

await bench({
  name: 'mongo',
  start: async () => {
    const service = await startService('mongodb')
    return { ...service, stop: () => service.stop() }
  },
  backend: import.meta.resolve('./backend.ts'),
  floor: import.meta.resolve('@sayiir/bench/floors/mongo'),
  sizes: { jobs: 1000 },
  peers: mongoPeers,
  aims: {
    'W1:one:1x1': { atLeast: 0.8 },
    'W1:one:1x10': { atLeast: 0.8 },
    'W1:claimNext:1x1': { atLeast: 1.2 },
    'W1:claimNext:1x10': { atLeast: 1.2 },
    'W1:batch50:1x1': { atLeast: 3 },
    'W1:batch50:1x10': { atLeast: 3 },
    'W2:claimNext:1x1': { atLeast: 0.8 },
    'W2:claimNext:1x10': { atLeast: 0.8 },
    'S6:commitTask: bytes sent:step 1,000': { atMost: 1.5 },
    'S6:saveSnapshot: bytes sent:step 1,000': { atMost: 1.5 },
  },
})
