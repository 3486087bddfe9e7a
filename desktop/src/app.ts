// What all screens share: the newest answers, when to ask again, and which screen is shown.

import { api, failureOf, shell, type About } from './api/client'
import { type Snapshot, type State, nothingYet, stateOf } from './model/state'

export const SCREENS = ['home', 'join', 'devices', 'topology', 'usage', 'diagnostics', 'settings'] as const
export type ScreenName = (typeof SCREENS)[number]

export interface Place {
  screen: ScreenName
  /** A device's node id, on the devices screen. */
  device: string | null
}

/** How often the service is asked while somebody looks, and while nobody does. */
const VISIBLE_MS = 2_000
const HIDDEN_MS = 5_000
/** The state ages between answers: the line is worked out anew this often. */
const TICK_MS = 1_000
/** After an event; several come together. */
const EVENT_MS = 150
/** Before the stream of events is opened again. */
const REOPEN_MS = 2_000

export class App {
  snapshot: Snapshot = nothingYet
  state: State = stateOf(nothingYet, 0)
  about: About | null = null
  /** An invite that a link brought. */
  invite: string | null = null
  private readonly watchers = new Set<() => void>()
  private readonly travellers = new Set<() => void>()
  private timer = 0
  private asking = false
  private again = false

  start(): void {
    window.addEventListener('hashchange', () => this.travelled())
    document.addEventListener('visibilitychange', () => this.refreshSoon(0))
    window.setInterval(() => this.reconsider(), TICK_MS)
    void this.askShell()
    void this.watchEvents()
    void this.takeInvite()
    void shell.onInvite(() => void this.takeInvite())
    this.refreshSoon(0)
  }

  /** Calls `watcher` whenever the answers or the state may have changed. */
  watch(watcher: () => void): void {
    this.watchers.add(watcher)
  }

  onTravel(traveller: () => void): void {
    this.travellers.add(traveller)
  }

  get place(): Place {
    const [screen, device] = location.hash.replace(/^#/, '').split('/')
    const known = SCREENS.find((s) => s === screen)
    return { screen: known ?? 'home', device: device ? decodeURIComponent(device) : null }
  }

  go(screen: ScreenName, device: string | null = null): void {
    location.hash = device === null ? screen : `${screen}/${encodeURIComponent(device)}`
  }

  async askShell(): Promise<void> {
    try {
      this.about = await shell.about()
      this.tell()
    } catch {
      // The about page says "unknown".
    }
  }

  /** Asks the service at once, or right after the question that is under way. */
  async refresh(): Promise<void> {
    if (this.asking) {
      this.again = true
      return
    }
    this.asking = true
    this.snapshot = await ask()
    this.asking = false
    this.reconsider()
    this.tell()
    const soon = this.again ? 0 : document.hidden ? HIDDEN_MS : VISIBLE_MS
    this.again = false
    this.refreshSoon(soon)
  }

  refreshSoon(milliseconds: number): void {
    window.clearTimeout(this.timer)
    this.timer = window.setTimeout(() => void this.refresh(), milliseconds)
  }

  private reconsider(): void {
    const state = stateOf(this.snapshot, performance.now())
    const changed = JSON.stringify(state) !== JSON.stringify(this.state)
    this.state = state
    if (changed) this.tell()
  }

  private tell(): void {
    for (const watcher of this.watchers) watcher()
  }

  private travelled(): void {
    for (const traveller of this.travellers) traveller()
    this.tell()
  }

  private async takeInvite(): Promise<void> {
    const invite = await shell.takeInvite()
    if (invite === null) return
    this.invite = invite
    if (this.place.screen === 'join') this.travelled()
    else this.go('join')
  }

  /** Events say when to ask, not what has changed; the end of the stream says that the service has ended. */
  private async watchEvents(): Promise<void> {
    for (;;) {
      try {
        await api.events(() => this.refreshSoon(EVENT_MS))
      } catch {
        // The service is not there, which `refresh` finds out too.
      }
      this.refreshSoon(0)
      await new Promise((resume) => window.setTimeout(resume, REOPEN_MS))
    }
  }
}

async function ask(): Promise<Snapshot> {
  try {
    const service = await api.service()
    const hasNode = service.state === 'running' || service.state === 'stopping'
    const status = hasNode ? await statusOrNull() : null
    return { service, status, failure: null, at: performance.now() }
  } catch (error) {
    return { ...nothingYet, failure: failureOf(error) }
  }
}

/** A node may stop between two questions: then the service is right, and there is no status. */
async function statusOrNull() {
  try {
    return await api.status()
  } catch (error) {
    if (failureOf(error).kind === 'refused') return null
    throw error
  }
}
