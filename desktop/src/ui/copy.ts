// Copying on a click, with a word that it was done.

import { fill, texts } from '../texts'
import { h, icon, setText } from './dom'

const SHOWN_MS = 1600

/** A button that shows `text` and copies it; `what` is said to screen readers. */
export function copyable(what: string): { element: HTMLButtonElement; set: (text: string) => void } {
  let value = ''
  const shown = h('bdi', { dir: 'auto', class: 'copy-text' })
  const said = h('span', { class: 'copy-said', role: 'status' })
  const element = h('button', { type: 'button', class: 'copy', onclick: () => void copy() }, shown, icon('copy'), said)
  async function copy(): Promise<void> {
    setText(said, (await toClipboard(value)) ? texts.app.copied : texts.app.copyFailed)
    window.setTimeout(() => setText(said, ''), SHOWN_MS)
  }
  return {
    element,
    set(text: string) {
      if (text === value) return
      value = text
      setText(shown, text)
      element.title = text
      element.setAttribute('aria-label', `${fill(texts.app.copy, { what })}: ${text}`)
    },
  }
}

async function toClipboard(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return bySelection(text)
  }
}

/** For web views that keep the clipboard from pages. */
function bySelection(text: string): boolean {
  const area = h('textarea', { class: 'visually-hidden', 'aria-hidden': 'true' })
  area.value = text
  const focused = document.activeElement
  document.body.append(area)
  area.select()
  const done = document.execCommand('copy')
  area.remove()
  if (focused instanceof HTMLElement) focused.focus()
  return done
}
