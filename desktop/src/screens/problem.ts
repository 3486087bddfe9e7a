// Shown in place of every screen that needs the service while the service cannot be used: why, and the way out.

import { shell, type StartFailure } from '../api/client'
import type { App } from '../app'
import type { StateKind } from '../model/state'
import { fill, texts } from '../texts'
import { copyable } from '../ui/copy'
import { h, icon, setText, show } from '../ui/dom'

const t = texts.problem
const KINDS: ReadonlySet<StateKind> = new Set(['service-not-running', 'no-permission', 'other-version', 'not-answering'])
/** What the button does, for those who must do it themselves. */
const START = 'sudo systemctl start osier'
const GROUP = 'osier'
const RUN = `sudo osier up --service --control-group ${GROUP}`
const INSTALL = `sudo osier service install -- --service --control-group ${GROUP}`
/** A service that has just started gets this long until it answers. */
const PATIENCE_MS = 400

export class Problem {
  readonly element: HTMLElement
  private readonly heading = h('h1', { tabindex: -1 })
  private readonly detail = h('p', { class: 'lead' })
  private readonly more = h('p', { class: 'hint' })
  private readonly button = h('button', { type: 'button', class: 'primary', onclick: () => void this.start() }, t.startService)
  private readonly complaint = h('p', { class: 'complaint', role: 'alert' })
  private readonly command = copyable(t.command)
  private kind: StateKind | null = null
  private starting = false

  constructor(private readonly app: App) {
    this.command.element.classList.add('command')
    this.element = h(
      'section',
      { class: 'screen card problem', hidden: true },
      icon('warning'),
      this.heading,
      this.detail,
      h('div', { class: 'buttons' }, this.button),
      this.complaint,
      this.command.element,
      this.more,
    )
  }

  /** Whether there is one. */
  update(): boolean {
    const { state, snapshot, about } = this.app
    const active = KINDS.has(state.kind)
    show(this.element, active)
    if (!active) {
      this.kind = null
      return false
    }
    if (state.kind !== this.kind) {
      this.kind = state.kind
      setText(this.complaint, '')
      this.suggest(state.kind === 'no-permission' ? `sudo usermod -aG ${GROUP} ${about?.user || '$USER'}` : null)
    }
    setText(this.heading, state.line)
    setText(this.detail, state.kind === 'no-permission' ? `${state.detail} ${t.permissionFix}` : state.detail)
    show(this.button, state.kind === 'service-not-running' || state.kind === 'not-answering')
    setText(this.button, this.starting ? t.starting : state.kind === 'not-answering' ? texts.app.retry : t.startService)
    const versions = fill(t.versions, {
      app: about?.version ?? texts.app.unknown,
      service: snapshot.service?.version ?? texts.app.unknown,
    })
    const socket = fill(t.socket, { socket: about?.socket ?? texts.app.unknown })
    setText(this.more, state.kind === 'other-version' ? versions : state.kind === 'service-not-running' ? socket : '')
    return true
  }

  private suggest(command: string | null): void {
    show(this.command.element, command !== null)
    if (command !== null) this.command.set(command)
  }

  private async start(): Promise<void> {
    if (this.kind === 'not-answering') return this.app.refresh()
    if (this.starting) return
    this.starting = true
    setText(this.complaint, '')
    this.suggest(null)
    this.update()
    try {
      await shell.startService()
      this.app.refreshSoon(PATIENCE_MS)
    } catch (failure) {
      this.explain(failure as StartFailure)
    }
    this.starting = false
    this.update()
  }

  private explain(failure: StartFailure): void {
    switch (failure.kind) {
      case 'no-pkexec':
        this.suggest(START)
        return setText(this.complaint, t.noPkexec)
      case 'no-systemd':
        this.suggest(RUN)
        return setText(this.complaint, t.noSystemd)
      case 'not-installed':
        this.suggest(INSTALL)
        return setText(this.complaint, t.notInstalled)
      case 'not-permitted':
        this.suggest(START)
        return setText(this.complaint, t.notPermitted)
      default: {
        const reason = 'message' in failure ? failure.message : String(failure)
        return setText(this.complaint, fill(t.startFailed, { reason }))
      }
    }
  }
}
