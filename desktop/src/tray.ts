// What is on the tray: worked out here, shown by the shell, whole at each change.

import { api, shell, type TrayEntry } from './api/client'
import type { App } from './app'
import type { Face } from './model/state'
import { texts } from './texts'

const t = texts.tray

export interface Tray {
  face: Face
  line: string
  entries: TrayEntry[]
}

export function trayOf(app: Pick<App, 'state' | 'snapshot'>): Tray {
  const { state, snapshot } = app
  const member = snapshot.service?.member ?? null
  const usable = state.on !== null
  const entries: TrayEntry[] = [
    // Indicators have no tooltip: the first entry tells the state.
    { text: state.line },
    ...(member === null || !usable ? [] : [{ text: `${member.name} · ${member.address}` }]),
    {},
    { id: 'open', text: t.open },
    ...(usable ? [{ id: 'switch', text: state.on ? t.turnOff : t.turnOn }, { id: 'devices', text: t.devices }] : []),
    { id: 'diagnostics', text: t.diagnostics },
    {},
    { id: 'quit', text: t.quit },
  ]
  return { face: state.face, line: state.line, entries }
}

export function runTray(app: App): void {
  let shown = ''
  app.watch(() => {
    const tray = trayOf(app)
    const key = JSON.stringify(tray)
    if (key === shown) return
    shown = key
    // A desktop without a tray has the window.
    shell.showTray(tray.face, tray.line, tray.entries).catch(() => undefined)
  })
  void shell.onTray((id) => void chosen(app, id))
}

async function chosen(app: App, id: string): Promise<void> {
  switch (id) {
    case 'switch':
      if (app.state.on === null) return
      // What became of it is seen in the state.
      await api.switch(!app.state.on).catch(() => undefined)
      return app.refresh()
    // The shell has opened the window already.
    case 'devices':
    case 'diagnostics':
      app.go(id)
  }
}
