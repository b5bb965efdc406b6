import { Nudge } from '@sayiir/persistence-core/adapter'

/** Tells those of this process who wait for work what this process itself commits. */
export class CommitNudge extends Nudge {
  /** Commits so far. */
  commits = 0

  /** After a commit. */
  committed(madeAvailable: boolean): void {
    this.commits += 1
    if (madeAvailable) this.nudge()
  }
}
