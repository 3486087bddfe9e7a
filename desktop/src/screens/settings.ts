// How the app looks and starts, and what it is.

import { api, failureOf, shell } from '../api/client'
import type { App } from '../app'
import { date } from '../model/format'
import { fill, texts } from '../texts'
import { h, name, putWhenChanged, set, setText, show } from '../ui/dom'
import { THEMES, type Theme, applyTheme, savedTheme } from '../ui/theme'
import type { Screen } from './screen'

const t = texts.settings

export function settings(app: App): Screen {
  const themes = THEMES.map((theme) => {
    const input = h('input', { type: 'radio', name: 'theme', value: theme, onchange: () => applyTheme(theme) })
    return { theme, input, element: h('label', { class: 'choice' }, input, t.themes[theme]) }
  })
  const autostart = h('input', { type: 'checkbox', onchange: () => void changeAutostart() })
  const complaint = h('p', { class: 'complaint', role: 'alert' })
  const tray = h('p', { class: 'hint' })
  const facts = h('dl', { class: 'facts' })
  const leaveButton = h('button', { type: 'button', onclick: () => ask(true) }, t.leave)
  const stay = h('button', { type: 'button', onclick: () => ask(false) }, t.leaveNo)
  const sure = h('p', {})
  const question = h(
    'div',
    { hidden: true },
    sure,
    h('div', { class: 'buttons' }, h('button', { type: 'button', class: 'danger', onclick: () => void leave() }, t.leaveYes), stay),
  )
  const leaveComplaint = h('p', { class: 'complaint', role: 'alert' })
  const networkName = h('p', { class: 'network-name' })
  const network = h(
    'section',
    { class: 'card', 'aria-labelledby': 'network' },
    h('h2', { id: 'network' }, t.network),
    networkName,
    h('div', { class: 'buttons' }, leaveButton),
    question,
    leaveComplaint,
  )
  const element = h(
    'div',
    { class: 'screen settings' },
    h('h1', { tabindex: -1 }, t.title),
    h(
      'section',
      { class: 'card', 'aria-labelledby': 'appearance' },
      h('h2', { id: 'appearance' }, t.appearance),
      h('fieldset', { class: 'choices' }, h('legend', {}, t.theme), ...themes.map((theme) => theme.element)),
    ),
    h(
      'section',
      { class: 'card', 'aria-labelledby': 'startup' },
      h('h2', { id: 'startup' }, t.startup),
      h('label', { class: 'choice' }, autostart, t.autostart),
      complaint,
      tray,
    ),
    network,
    h('section', { class: 'card', 'aria-labelledby': 'about' }, h('h2', { id: 'about' }, t.about), facts),
  )

  async function leave(): Promise<void> {
    setText(leaveComplaint, '')
    try {
      await api.leave()
    } catch (error) {
      const { message, fix } = failureOf(error)
      setText(leaveComplaint, fill(t.leaveFailed, { reason: fix ? `${message}. ${fix}` : message }))
    }
    ask(false)
    await app.refresh()
  }

  /** Whether the question is asked; the focus goes along. */
  function ask(asked: boolean): void {
    const focused = network.contains(document.activeElement)
    show(question, asked)
    show(leaveButton, !asked)
    if (focused) (asked ? stay : leaveButton).focus()
  }

  async function changeAutostart(): Promise<void> {
    setText(complaint, '')
    try {
      await shell.setAutostart(autostart.checked)
    } catch (error) {
      setText(complaint, fill(t.autostartFailed, { reason: String(error) }))
    }
    await app.askShell()
  }

  function update(): void {
    const { about, snapshot } = app
    const { service, status } = snapshot
    autostart.checked = about?.autostart ?? false
    set(autostart, 'disabled', about === null)
    setText(tray, about === null ? '' : about.tray ? t.trayShown : t.trayMissing)
    const member = service?.member ?? null
    show(network, member !== null && service?.managed === true)
    if (member !== null) {
      putWhenChanged(networkName, member.network.name, () => [name(member.network.name)])
      setText(sure, fill(t.leaveSure, { network: member.network.name }))
    }
    const certificate = status?.certificate ?? member?.certificate ?? null
    const rows: [string, string][] = [
      [t.appVersion, about?.version ?? texts.app.unknown],
      [t.serviceVersion, service?.version ?? texts.app.unknown],
      [t.socket, about?.socket ?? texts.app.unknown],
    ]
    if (certificate !== null) rows.push([t.certificateUntil, date(certificate.not_after)])
    putWhenChanged(facts, JSON.stringify(rows), () =>
      rows.flatMap(([label, value]) => [h('dt', {}, label), h('dd', {}, h('bdi', { dir: 'auto' }, value))]),
    )
  }

  return {
    element,
    enter() {
      const current: Theme = savedTheme()
      for (const { theme, input } of themes) input.checked = theme === current
      void app.askShell()
      update()
    },
    leave() {
      setText(complaint, '')
      setText(leaveComplaint, '')
      ask(false)
    },
    update,
  }
}
