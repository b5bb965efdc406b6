import {
  type DispatchEntry,
  type InstanceRecord,
  type InstanceStore,
  isLive,
} from '../../src/adapter.ts'
import type { BackendStats } from '../../src/index.ts'
import { type WrongBackend, wrong } from './flawed.ts'

/** A backend whose stats are changed by what there is. */
function counting(
  name: string,
  change: (right: BackendStats, records: readonly InstanceRecord[], at: number) => BackendStats,
): WrongBackend {
  return wrong('M1', name, {
    methods: (right, store: InstanceStore) => ({
      stats: async (options) =>
        change(
          await right.stats(options),
          (await store.listInstances(null, 1000)).map(({ record }) => record),
          await store.now(),
        ),
    }),
  })
}

function count(
  records: readonly InstanceRecord[],
  counts: (entry: DispatchEntry, record: InstanceRecord) => boolean,
): number {
  return records.flatMap((record) => record.entries.filter((entry) => counts(entry, record))).length
}

const isInProgress = ({ snapshot }: InstanceRecord): boolean =>
  snapshot.state.status === 'in-progress'

/** Rule M1, its numbers. */
export const wrongStats: readonly WrongBackend[] = [
  counting('the age of a task is that of its instance', (right, records, at) => ({
    ...right,
    oldestAvailableAgeMs:
      right.oldestAvailableAgeMs === null
        ? null
        : at - Math.min(...records.map(({ snapshot }) => snapshot.createdAt)),
  })),
  counting('stats count claims that have expired', (right, records) => ({
    ...right,
    claimed: count(records, ({ claim }) => claim !== null),
  })),
  counting('stats leave out the claims of paused instances', (right, records, at) => ({
    ...right,
    claimed: count(records, ({ claim }, record) => isLive(claim, at) && isInProgress(record)),
  })),
  counting('stats count tasks that are not due', (right, records, at) => ({
    ...right,
    available: count(
      records,
      ({ claim }, record) =>
        !isLive(claim, at) &&
        isInProgress(record) &&
        record.pause === null &&
        record.cancel === null,
    ),
  })),
  counting('stats tell the age of the oldest instance', (right, records, at) => {
    const ages = records.filter(isInProgress).map(({ snapshot }) => at - snapshot.createdAt)
    return { ...right, oldestAvailableAgeMs: ages.length === 0 ? null : Math.max(...ages) }
  }),
  counting('stats count what was cancelled as failed', (right) => {
    const { failed, cancelled } = right.byStatus
    return { ...right, byStatus: { ...right.byStatus, failed: failed + cancelled, cancelled: 0 } }
  }),
]
