import type { ServiceName } from '@sayiir/services'
import { describe, expect, inject, test } from 'vitest'
import type { FloorModule, Place } from '../src/definition.ts'
import type { Floor } from '../src/floor.ts'

const floors: Readonly<Record<string, ServiceName>> = {
  postgres: 'postgres',
  redis: 'redis',
  mongo: 'mongodb',
}

describe.each(Object.entries(floors))('the floor on %s', (name, serviceName) => {
  test('claims each job once, fenced, and completes it', async () => {
    const { connect }: FloorModule = await import(`../src/floors/${name}.ts`)
    const place: Place = {
      url: inject(serviceName).url,
      namespace: 'bench_floor',
      concurrency: 2,
      workload: 'W1',
    }
    await using floor = await connect(place)
    await using other = await connect(place)
    await floor.create()
    await floor.fill(Array.from({ length: 10 }, (_, index) => `job ${index}`))
    await floor.settle?.()
    await other.enqueue('job 10')
    expect(await floor.remaining()).toBe(11)

    const done = await workOff(floor, other)
    expect(done.toSorted()).toEqual(
      Array.from({ length: 11 }, (_, index) => `job ${index}`).toSorted(),
    )
    expect(await other.remaining()).toBe(0)
    expect(await floor.claim('worker')).toBeUndefined()

    const { promise, resolve } = Promise.withResolvers<void>()
    if (floor.listen !== undefined) {
      await floor.listen(resolve)
      await other.enqueueAndWake?.('woken')
      await promise
      expect((await floor.claim('worker'))?.payload).toBe('woken')
    }
    await floor.drop()
  })
})

/** Every way to work, by two at once; the payloads that were completed. */
async function workOff(floor: Floor, other: Floor): Promise<string[]> {
  const [one, two] = await Promise.all([floor.claim('one'), other.claim('two')])
  if (one === undefined || two === undefined) throw new Error('nothing to claim')
  expect(one.payload).not.toBe(two.payload)
  await floor.checkpoint(one, ['first'])
  await floor.checkpoint(one, ['first', 'second'])
  await expect(other.complete({ ...two, token: '77' } as typeof two)).rejects.toThrow('lost')
  await other.complete(two)
  const done = [two.payload]
  let job: typeof one | undefined = one
  if (floor.completeAndClaim === undefined) {
    await floor.complete(one)
    done.push(one.payload)
  } else {
    for (let count = 0; count < 4 && job !== undefined; count += 1) {
      done.push(job.payload)
      job = await floor.completeAndClaim(job, 'one')
    }
    if (job !== undefined) {
      await floor.complete(job)
      done.push(job.payload)
    }
  }
  const batch = (await other.claimMany?.('two', 3)) ?? []
  await other.completeMany?.(batch)
  done.push(...batch.map(({ payload }) => payload))
  for (;;) {
    const next = await floor.claim('one')
    if (next === undefined) return done
    await floor.complete(next)
    done.push(next.payload)
  }
}
