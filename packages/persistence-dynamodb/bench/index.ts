import { bench } from '@sayiir/bench'
import { startService } from '@sayiir/services'
import { consumed } from './place.ts'
import { measureUnits } from './units.ts'

await bench({
  name: 'dynamodb',
  start: async () => {
    const service = await startService('dynamodb')
    return {
      ...service,
      stop: () => service.stop(),
      async bytes() {
        return { 'write units': consumed.write }
      },
      async counters() {
        return { 'read units': consumed.read, 'write units': consumed.write }
      },
    }
  },
  backend: import.meta.resolve('./backend.ts'),
  floor: import.meta.resolve('./floor.ts'),
  sizes: {
    jobs: 2000,
    instances: 100,
    depths: [1000, 200_000],
    saves: 1000,
    burst: 500,
    costs: 500,
  },
  aims: {
    'W1:one:1x1': { atLeast: 0.8 },
    'W1:one:1x10': { atLeast: 0.8 },
    'W1:one:4x5': { atLeast: 0.8 },
    'W1:claimNext:1x1': { atLeast: 1.2 },
    'W1:claimNext:1x10': { atLeast: 1.2 },
    'W1:claimNext:4x5': { atLeast: 1.2 },
    'S6:commitTask: write units:step 1,000': { atMost: 1.5 },
    'S6:saveSnapshot: write units:step 1,000': { atMost: 1.5 },
  },
})

const only = process.argv.indexOf('--only')
if (only < 0 || process.argv[only + 1]?.split(',').includes('UNITS') === true) {
  await measureUnits(process.argv.includes('--quick') ? [1000, 10_000] : [1000, 200_000])
}
