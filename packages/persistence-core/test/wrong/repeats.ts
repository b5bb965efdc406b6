import type { InstanceStore } from '../../src/adapter.ts'
import type { CommitRecord } from '../../src/dispatch.ts'
import type { TaskClaimRef } from '../../src/index.ts'
import { claimOn, type WrongBackend, wrong } from './flawed.ts'

/** What is remembered of the task's last commit, and whether somebody holds the task. */
async function lastCommit(
  store: InstanceStore,
  { instanceId, taskId }: TaskClaimRef,
): Promise<{ readonly last: CommitRecord | undefined; readonly isHeld: boolean }> {
  const found = await store.readInstance(instanceId)
  const record = found?.record ?? null
  return { last: record?.commits.get(taskId), isHeld: claimOn(record, taskId) !== null }
}

/** Rule D6: for how long a commit is remembered, and for whom. */
export const wrongRepeats: readonly WrongBackend[] = [
  wrong('D6', 'a commit is remembered although the task was claimed again', {
    written: (after, before) => ({
      ...after,
      commits: new Map([...(before?.commits ?? []), ...after.commits]),
    }),
  }),
  wrong('D6', 'only the last commit of the instance is remembered', {
    written: (after, before) => {
      const isNew = ([taskId, { token }]: [string, CommitRecord]): boolean =>
        before?.commits.get(taskId)?.token !== token
      const fresh = [...after.commits].filter(isNew)
      return fresh.length === 0 ? after : { ...after, commits: new Map(fresh) }
    },
  }),
  wrong('D6', 'a retry is not remembered', {
    written: (after) => ({
      ...after,
      commits: new Map([...after.commits].filter(([id]) => !after.snapshot.retries.has(id))),
    }),
  }),
  wrong('D6', 'a repeat is known by its worker, whatever its token', {
    methods: (right, store) => ({
      commitTask: async (params, options) => {
        const { claim } = params
        const { last, isHeld } = await lastCommit(store, claim)
        const isTaken = last?.workerId === claim.workerId && !isHeld
        return right.commitTask(
          isTaken ? { ...params, claim: { ...claim, token: last.token } } : params,
          options,
        )
      },
    }),
  }),
  wrong('D6', 'a repeat is known by its token, whoever gives it', {
    methods: (right, store) => ({
      commitTask: async (params, options) => {
        const { claim } = params
        const { last } = await lastCommit(store, claim)
        return right.commitTask(
          last !== undefined && last.token === claim.token
            ? { ...params, claim: { ...claim, workerId: last.workerId } }
            : params,
          options,
        )
      },
    }),
  }),
]
