// Inviting a device to the network that this one has made: a link to copy, and its QR code.

import { api, failureOf } from '../api/client'
import type { NewInvite } from '../api/types'
import { duration, sentence } from '../model/format'
import { fill, texts } from '../texts'
import { copyable } from '../ui/copy'
import { h, set, setText, show, svg } from '../ui/dom'

const t = texts.invite
/** Light modules around the code, without which it cannot be read. */
const QUIET = 4

export class InviteCard {
  private readonly link = copyable(t.link)
  private readonly news = h('p', { class: 'hint', role: 'status' })
  private readonly result = h('p', { class: 'complaint', role: 'alert' })
  private readonly picture = h('div', { class: 'qr', hidden: true })
  private readonly submit = h('button', { type: 'button', onclick: () => void this.make() }, t.make)
  readonly element = h(
    'details',
    { class: 'card invite', hidden: true },
    h('summary', {}, t.title),
    h('p', {}, t.lead),
    h('div', { class: 'buttons' }, this.submit),
    this.result,
    this.picture,
    this.link.element,
    this.news,
  )
  private busy = false

  constructor() {
    show(this.link.element, false)
  }

  update(hosting: boolean): void {
    show(this.element, hosting)
  }

  /** Forgets the invite: nobody who walks by later should see it. */
  leave(): void {
    this.link.set('')
    this.picture.replaceChildren()
    for (const part of [this.link.element, this.picture]) show(part, false)
    for (const message of [this.news, this.result]) setText(message, '')
    this.element.open = false
  }

  private async make(): Promise<void> {
    if (this.busy) return
    this.busy = true
    set(this.submit, 'aria-disabled', 'true')
    setText(this.result, '')
    try {
      this.showInvite(await api.invite())
    } catch (error) {
      const { message, fix } = failureOf(error)
      setText(this.result, fix ? `${sentence(message)}. ${sentence(fix)}.` : `${sentence(message)}.`)
    }
    this.busy = false
    set(this.submit, 'aria-disabled', null)
  }

  private showInvite({ invite, expires, registries, qr }: NewInvite): void {
    this.link.set(invite)
    this.picture.replaceChildren(code(qr))
    for (const part of [this.link.element, this.picture]) show(part, true)
    const time = duration(expires - Date.now() / 1000)
    setText(this.news, fill(t.made, { time, places: registries.join(', ') }))
  }
}

/** Dark on light in every theme, or cameras would not read it. */
function code(rows: readonly string[]): SVGSVGElement {
  const size = rows.length + 2 * QUIET
  const dark = rows.flatMap((row, y) => [...row].flatMap((module, x) => (module === '1' ? [`M${x + QUIET} ${y + QUIET}h1v1h-1z`] : [])))
  return svg(
    'svg',
    { viewBox: `0 0 ${size} ${size}`, role: 'img', 'aria-label': t.qr, 'shape-rendering': 'crispEdges' },
    svg('rect', { width: size, height: size, fill: '#ffffff' }),
    svg('path', { d: dark.join(''), fill: '#000000' }),
  )
}
