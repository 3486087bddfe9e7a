// What a screen is.

import type { Place } from '../app'

export interface Screen {
  /** Made once; its first heading takes the focus when the screen is shown. */
  readonly element: HTMLElement
  /** Shown from now on, or shown already and asked for another place. */
  enter(place: Place): void
  /** Not shown any more: streams and timers end. */
  leave(): void
  /** New answers have come while it is shown. */
  update(): void
}
