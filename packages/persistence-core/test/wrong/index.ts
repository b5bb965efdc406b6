import { wrongArguments } from './arguments.ts'
import { wrongClaims } from './claims.ts'
import { wrongCommits } from './commits.ts'
import { wrongDispatch } from './dispatch.ts'
import { wrongDelays, wrongEvents } from './events.ts'
import type { WrongBackend } from './flawed.ts'
import { wrongForks } from './forks.ts'
import { wrongHandedOut } from './handed-out.ts'
import { wrongListings } from './listings.ts'
import { wrongLifecycles, wrongMaintenance } from './maintenance.ts'
import { wrongPrivileges } from './privileges.ts'
import { wrongRepeats } from './repeats.ts'
import { wrongSaves } from './saves.ts'
import { wrongSignals } from './signals.ts'
import { wrongSnapshots } from './snapshots.ts'
import { wrongStats } from './stats.ts'

/** Every wrong backend but those that wait in vain. */
export const wrongBackends: readonly WrongBackend[] = [
  ...wrongArguments,
  ...wrongSnapshots,
  ...wrongSaves,
  ...wrongListings,
  ...wrongClaims,
  ...wrongDispatch,
  ...wrongHandedOut,
  ...wrongCommits,
  ...wrongRepeats,
  ...wrongForks,
  ...wrongDelays,
  ...wrongEvents,
  ...wrongSignals,
  ...wrongMaintenance,
  ...wrongStats,
  ...wrongLifecycles,
  ...wrongPrivileges,
]
