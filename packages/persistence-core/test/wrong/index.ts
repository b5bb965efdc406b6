import { wrongArguments } from './arguments.ts'
import { wrongClaims } from './claims.ts'
import { wrongCommits } from './commits.ts'
import { wrongDispatch } from './dispatch.ts'
import { wrongDelays, wrongEvents } from './events.ts'
import type { WrongBackend } from './flawed.ts'
import { wrongForks } from './forks.ts'
import { wrongListings } from './listings.ts'
import { wrongLifecycles, wrongMaintenance } from './maintenance.ts'
import { wrongSaves } from './saves.ts'
import { wrongSignals } from './signals.ts'
import { wrongSnapshots } from './snapshots.ts'

/** Every wrong backend but those that wait in vain. */
export const wrongBackends: readonly WrongBackend[] = [
  ...wrongArguments,
  ...wrongSnapshots,
  ...wrongSaves,
  ...wrongListings,
  ...wrongClaims,
  ...wrongDispatch,
  ...wrongCommits,
  ...wrongForks,
  ...wrongDelays,
  ...wrongEvents,
  ...wrongSignals,
  ...wrongMaintenance,
  ...wrongLifecycles,
]
