// The switch, the state, who we are, and what needs attention.

import { api, failureOf } from '../api/client'
import type { Health, Usage } from '../api/types'
import type { App } from '../app'
import { octets, sentence } from '../model/format'
import { lastDays, total } from '../model/usage'
import { fill, texts } from '../texts'
import { copyable } from '../ui/copy'
import { h, icon, name, put, putWhenChanged, set, setText, show } from '../ui/dom'
import type { Screen } from './screen'

const t = texts.home
/** Usage is counted by day; once in a while is enough. */
const USAGE_MS = 30_000

export function home(app: App): Screen {
  const line = h('p', { class: 'big-line' })
  const detail = h('p', { class: 'detail' })
  const switchText = h('span', { class: 'switch-text', 'aria-hidden': 'true' })
  const toggle = h(
    'button',
    { type: 'button', class: 'switch', role: 'switch', 'aria-label': t.switchLabel, onclick: () => void flip() },
    h('span', { class: 'knob' }),
  )
  const complaint = h('p', { class: 'complaint', role: 'alert' })
  const banner = h('section', { class: 'card banner', 'aria-label': t.health, hidden: true })
  const address = copyable(t.address)
  const ownName = copyable(t.name)
  const network = h('dd', {})
  const facts = h('dl', { class: 'facts' })
  const neighbours = figure(t.neighbours)
  const members = figure(t.members)
  const sent = figure(t.sent)
  const received = figure(t.received)
  const device = h(
    'section',
    { class: 'card', 'aria-label': t.thisDevice },
    h('h2', {}, t.thisDevice),
    facts,
  )
  put(facts, ...row(t.name, ownName.element), ...row(t.address, address.element), h('dt', {}, t.network), network)
  const ownBar = h('span', { class: 'bar own' })
  const carriedBar = h('span', { class: 'bar carried' })
  const todayText = h('p', { class: 'detail' })
  const today = h(
    'section',
    { class: 'card', 'aria-label': t.today },
    h('h2', {}, t.today),
    h('div', { class: 'meter', 'aria-hidden': 'true' }, ownBar, carriedBar),
    todayText,
  )
  const figures = h(
    'section',
    { class: 'figures', 'aria-label': t.figures },
    neighbours.element,
    members.element,
    sent.element,
    received.element,
  )
  const element = h(
    'div',
    { class: 'screen home' },
    h('h1', { tabindex: -1, class: 'visually-hidden' }, texts.nav.home),
    h(
      'section',
      { class: 'card hero' },
      h('div', { class: 'hero-text' }, line, detail, complaint),
      h('div', { class: 'hero-switch' }, toggle, switchText),
    ),
    banner,
    figures,
    h('div', { class: 'columns' }, device, today),
  )

  let switching = false
  let askedUsage = -Infinity

  async function flip(): Promise<void> {
    if (switching || app.state.on === null) return
    switching = true
    setText(complaint, '')
    update()
    try {
      await api.switch(!app.state.on)
    } catch (error) {
      const { message, fix } = failureOf(error)
      setText(complaint, fill(t.switchFailed, { reason: fix ? `${message}. ${fix}` : message }))
    }
    switching = false
    await app.refresh()
    update()
  }

  function showUsage(usage: Usage): void {
    const day = lastDays(usage, 1)[0]
    const { own, carried } = day ? total(day) : { own: 0, carried: 0 }
    const most = Math.max(own + carried, 1)
    ownBar.style.width = `${(100 * own) / most}%`
    carriedBar.style.width = `${(100 * carried) / most}%`
    setText(todayText, fill(t.todayUsed, { own: octets(own), carried: octets(carried) }))
  }

  function update(): void {
    const { state, snapshot } = app
    const { status, service } = snapshot
    setText(line, state.line)
    setText(detail, state.detail)
    set(element, 'data-face', state.face)
    show(toggle, state.on !== null)
    show(switchText, state.on !== null)
    set(toggle, 'aria-checked', state.on === true ? 'true' : 'false')
    set(toggle, 'aria-busy', switching ? 'true' : null)
    setText(switchText, state.on ? t.on : t.off)

    const member = service?.member ?? null
    show(device, member !== null)
    if (member !== null) {
      ownName.set(status?.name ?? member.name)
      address.set(member.address)
      putWhenChanged(network, member.network.name, () => [name(member.network.name)])
    }
    const running = status !== null && service?.state === 'running'
    show(figures, running)
    show(today, running)
    if (running) {
      neighbours.set(String(status.neighbours))
      members.set(String(status.members))
      sent.set(octets(status.sent_octets))
      received.set(octets(status.received_octets))
      if (performance.now() - askedUsage > USAGE_MS) {
        askedUsage = performance.now()
        // Without an answer the card keeps what it has; the state line says what is wrong.
        api.usage().then(showUsage, () => undefined)
      }
    }
    const health: Health[] = running ? [...status.health] : []
    if (service?.problem) {
      const severity = service.state === 'failed' ? 'error' : 'warning'
      health.unshift({ severity, ...service.problem })
    }
    show(banner, health.length > 0)
    putWhenChanged(banner, JSON.stringify(health), () => [h('h2', {}, t.health), h('ul', {}, ...health.map(healthItem))])
  }

  return { element, enter: update, leave: () => setText(complaint, ''), update }
}

function healthItem(health: Health): HTMLElement {
  return h(
    'li',
    { class: `health ${health.severity}` },
    icon(health.severity),
    h(
      'div',
      {},
      h('strong', {}, `${t.severity[health.severity]}: `),
      sentence(health.text),
      h('p', { class: 'fix' }, fill(t.fix, { fix: sentence(health.fix) })),
    ),
  )
}

function row(label: string, value: HTMLElement): HTMLElement[] {
  return [h('dt', {}, label), h('dd', {}, value)]
}

function figure(label: string): { element: HTMLElement; set: (text: string) => void } {
  const value = h('strong', {})
  const element = h('div', { class: 'figure' }, value, h('span', {}, label))
  return { element, set: (text) => setText(value, text) }
}
