import { compareIds, type Versioned } from '../../src/adapter.ts'
import { type WrongBackend, wrong } from './flawed.ts'

function ordered(name: string, compare: (a: string, b: string) => number): WrongBackend {
  return wrong('S9', `ids are ordered ${name}`, {
    store: (right) => ({
      listInstances: async (after, limit) => {
        const all = await right.listInstances(null, Number.MAX_SAFE_INTEGER)
        const id = ({ instanceId }: Versioned): string => instanceId
        return all
          .filter((one) => after === null || compare(id(one), after) > 0)
          .sort((a, b) => compare(id(a), id(b)) || compareIds(id(a), id(b)))
          .slice(0, limit)
      },
    }),
  })
}

/** Rule S9. */
export const wrongListings: readonly WrongBackend[] = [
  ordered('by UTF-16 code units', (a, b) => (a < b ? -1 : a > b ? 1 : 0)),
  ordered('as Latin-1', (a, b) =>
    Buffer.compare(Buffer.from(a, 'latin1'), Buffer.from(b, 'latin1')),
  ),
  ordered('as a language orders them', (a, b) => a.localeCompare(b, 'en')),
  wrong('S9', 'the last of a page is left out', {
    store: (right) => ({
      listInstances: async (after, limit) => {
        const page = await right.listInstances(after, limit + 1)
        return page.length > limit ? page.slice(1) : page
      },
    }),
  }),
  wrong('S9', 'a page begins with the last of the one before it', {
    methods: (right) => ({
      listSnapshots: async function* (filter) {
        let index = 0
        for await (const summary of right.listSnapshots(filter)) {
          index += 1
          yield summary
          if (index % 100 === 0) yield summary
        }
      },
    }),
  }),
  wrong('S9', 'pages are counted by offset, so that a deletion shifts them', {
    store: (right) => {
      const offsets = new Map<string, number>()
      return {
        listInstances: async (after, limit) => {
          const offset = after === null ? 0 : (offsets.get(after) ?? null)
          if (offset === null) return right.listInstances(after, limit)
          const all = await right.listInstances(null, Number.MAX_SAFE_INTEGER)
          const page = all.slice(offset, offset + limit)
          const last = page.at(-1)
          if (last !== undefined) offsets.set(last.instanceId, offset + page.length)
          return page
        },
      }
    },
  }),
  wrong('S9', '`limit` is ignored', {
    methods: (right) => ({
      listSnapshots: ({ limit: _, ...filter } = {}) => right.listSnapshots(filter),
    }),
  }),
  wrong('S9', '`limit` is counted before the filter', {
    methods: (right) => ({
      listSnapshots: async function* ({ limit = Infinity, ...filter } = {}) {
        const first: string[] = []
        for await (const { instanceId } of right.listSnapshots()) {
          first.push(instanceId)
          if (first.length === limit) break
        }
        for await (const summary of right.listSnapshots(filter))
          if (first.includes(summary.instanceId)) yield summary
      },
    }),
  }),
  wrong('S9', 'a prefix is a LIKE pattern', {
    methods: (right) => ({
      listSnapshots: async function* ({ prefix, limit = Infinity, ...filter } = {}) {
        const escaped = (prefix ?? '').replace(/[.*+?^${}()|[\]\\]/gu, '\\$&')
        const pattern = new RegExp(`^${escaped.replace(/%/gu, '.*').replace(/_/gu, '.')}`, 'su')
        let left = limit
        for await (const summary of right.listSnapshots(filter)) {
          if (!pattern.test(summary.instanceId)) continue
          yield summary
          left -= 1
          if (left === 0) return
        }
      },
    }),
  }),
  wrong('S9', '`after` is listed too', {
    methods: (right) => ({
      listSnapshots: async function* ({ after, ...filter } = {}) {
        for await (const summary of right.listSnapshots(filter)) {
          if (after === undefined || compareIds(summary.instanceId, after) >= 0) yield summary
        }
      },
    }),
  }),
  wrong('S9', 'an empty array filters nothing', {
    methods: (right) => ({
      listSnapshots: ({ status, definitionHash, ...filter } = {}) =>
        right.listSnapshots({
          ...filter,
          ...(status === undefined || status.length === 0 ? {} : { status }),
          ...(definitionHash === undefined || definitionHash.length === 0
            ? {}
            : { definitionHash }),
        }),
    }),
  }),
  wrong('S9', 'only the first of several statuses counts', {
    methods: (right) => ({
      listSnapshots: (filter = {}) => {
        const [first] = Array.isArray(filter.status) ? filter.status : []
        return right.listSnapshots(first === undefined ? filter : { ...filter, status: first })
      },
    }),
  }),
]
