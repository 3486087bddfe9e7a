// What the live ping has seen.

import type { ProbeLine } from '../api/types'

export class Pings {
  /** The chart shows so many. */
  static readonly KEPT = 48
  sent = 0
  received = 0
  min = Infinity
  max = 0
  /** Oldest first; `null` is one that was lost. */
  readonly recent: (number | null)[] = []
  private sum = 0

  get mean(): number {
    return this.received === 0 ? 0 : this.sum / this.received
  }

  take(line: ProbeLine): void {
    if (line.line === 'reply' && line.outcome === 'echo') this.count(line.rtt_ms)
    else if (line.line === 'lost' || line.line === 'reply') this.count(null)
  }

  private count(ms: number | null): void {
    this.sent += 1
    if (ms !== null) {
      this.received += 1
      this.sum += ms
      this.min = Math.min(this.min, ms)
      this.max = Math.max(this.max, ms)
    }
    this.recent.push(ms)
    if (this.recent.length > Pings.KEPT) this.recent.shift()
  }
}
