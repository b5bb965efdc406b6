import { BackendError, createSnapshot } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'

/** Connects when told to, with a clock of its own that is wrong by what is said, and does a little. */
const [, , path = '', name = '', offsetMs = '0'] = process.argv
const realNow = Date.now
Date.now = () => realNow() + Number(offsetMs)
process.on('message', async () => {
  const backend = await SqliteBackend.connect({ path })
  const { updatedAt } = await backend.saveSnapshot(
    createSnapshot({
      instanceId: name,
      definitionHash: 'd',
      position: { kind: 'at-task', taskId: 'a' },
    }),
  )
  const claim = await backend
    .claimTask({ instanceId: 'shared', taskId: 'a', workerId: name, ttlMs: 60_000 })
    .catch((error: unknown) => {
      if (BackendError.is(error, 'NOT_FOUND')) return null
      throw error
    })
  await backend.close()
  process.send?.({ updatedAt, won: claim !== null }, () => process.disconnect())
})
process.send?.('ready')
