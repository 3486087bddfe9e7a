// The frame around all screens: navigation, the state line, and which screen is in it.

import type { App, ScreenName } from '../app'
import type { StateKind } from '../model/state'
import { Problem } from '../screens/problem'
import type { Screen } from '../screens/screen'
import { texts } from '../texts'
import { h, icon, set, setText, show } from './dom'

/** What these show does not come from the service. */
const WITHOUT_SERVICE: ReadonlySet<ScreenName> = new Set(['settings'])
/** Without a network, what is left. */
const WITHOUT_NETWORK: ReadonlySet<ScreenName> = new Set(['join', 'diagnostics', 'settings'])
/** A member like that needs a new invite. */
const AGAIN: ReadonlySet<StateKind> = new Set(['revoked', 'certificate-expired'])

export class Frame {
  private readonly main = h('main', { id: 'content', tabindex: -1 })
  private readonly line = h('span', { class: 'state-text' })
  private readonly links = new Map<ScreenName, HTMLAnchorElement>()
  private readonly problem: Problem
  private shown: { name: ScreenName | 'problem'; device: string | null } | null = null

  constructor(
    private readonly app: App,
    private readonly screens: Readonly<Record<ScreenName, Screen>>,
  ) {
    this.problem = new Problem(app)
    const items = (Object.keys(screens) as ScreenName[]).map((name) => {
      const link = h('a', { href: `#${name}` }, icon(name), h('span', {}, texts.nav[name]))
      this.links.set(name, link)
      return h('li', {}, link)
    })
    const state = h(
      'div',
      { class: 'state', role: 'status', 'aria-live': 'polite', 'aria-label': texts.app.stateLabel },
      h('span', { class: 'dot', 'aria-hidden': 'true' }),
      this.line,
    )
    this.main.append(this.problem.element, ...Object.values(screens).map((screen) => screen.element))
    document.body.append(
      h('a', { class: 'skip', href: '#content', onclick: (event) => this.skip(event) }, texts.app.skip),
      h('div', { class: 'frame' }, h('header', {}, h('span', { class: 'mark' }, texts.app.name), state), h('nav', { 'aria-label': texts.app.navigation }, h('ul', {}, ...items)), this.main),
    )
    for (const screen of Object.values(screens)) show(screen.element, false)
    app.watch(() => this.update())
    app.onTravel(() => this.arrive(true))
    this.update()
  }

  private update(): void {
    const { state, snapshot } = this.app
    setText(this.line, state.line)
    set(document.documentElement, 'data-face', state.face)
    set(document.documentElement, 'data-state', state.kind)
    document.title = `${state.line} – ${texts.app.name}`
    const joined = snapshot.service === null || snapshot.service.member !== null
    for (const [name, link] of this.links) {
      const useful = joined ? name !== 'join' || this.app.place.screen === 'join' || AGAIN.has(state.kind) : WITHOUT_NETWORK.has(name)
      show(link.parentElement as HTMLElement, useful)
    }
    this.arrive(false)
  }

  /** Shows the screen of the place; `asked`: the user went there. */
  private arrive(asked: boolean): void {
    const place = this.app.place
    const joined = this.app.snapshot.service === null || this.app.snapshot.service.member !== null
    const wanted: ScreenName = joined || WITHOUT_NETWORK.has(place.screen) ? place.screen : 'join'
    const broken = this.problem.update() && !WITHOUT_SERVICE.has(wanted)
    show(this.problem.element, broken)
    const name = broken ? 'problem' : wanted
    for (const [each, link] of this.links) set(link, 'aria-current', each === wanted ? 'page' : null)
    const before = this.shown
    if (before?.name === name && before.device === place.device && !asked) {
      if (name !== 'problem') this.screens[name].update()
      return
    }
    this.shown = { name, device: place.device }
    if (before !== null && before.name !== 'problem' && before.name !== name) {
      this.screens[before.name].leave()
      show(this.screens[before.name].element, false)
    }
    if (name === 'problem') return
    const screen = this.screens[name]
    show(screen.element, true)
    screen.enter(place)
    if (asked && before?.name !== name) {
      this.main.scrollTop = 0
      screen.element.querySelector<HTMLElement>('h1')?.focus()
    }
  }

  /** The address stays the screen's. */
  private skip(event: Event): void {
    event.preventDefault()
    this.main.focus()
  }
}
