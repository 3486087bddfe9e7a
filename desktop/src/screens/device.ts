// One device: facts, live ping, hops, and why traffic goes the way it goes.

import { api, failureOf } from '../api/client'
import type { ProbeLine, Route, TraceLine } from '../api/types'
import { type Device, pathText, routesTo, whyText } from '../model/devices'
import { ago, milliseconds, octets, sentence } from '../model/format'
import { Pings } from '../model/pings'
import { fill, texts } from '../texts'
import { copyable } from '../ui/copy'
import { h, icon, name, put, putWhenChanged, set, setText, show, svg } from '../ui/dom'

const t = texts.device
const CHART = { width: 320, height: 64 }

export class DeviceDetail {
  readonly element: HTMLElement
  private readonly heading = h('h2', { tabindex: -1 })
  private readonly path = h('p', { class: 'lead' })
  private readonly address = copyable(t.address)
  private readonly facts = h('dl', { class: 'facts' })
  private readonly pingButton = h('button', { type: 'button', onclick: () => this.togglePing() }, t.pingStart)
  private readonly pingText = h('p', { class: 'hint' }, t.pingIdle)
  private readonly chart = h('div', { class: 'chart' })
  private readonly hopsButton = h('button', { type: 'button', onclick: () => void this.trace() }, t.hopsFind)
  private readonly hopsText = h('p', { class: 'hint', role: 'status' })
  private readonly hops = h('ol', { class: 'hops' })
  private readonly why = h('p', {})
  private readonly routes = h('div', {})
  private device: Device | null = null
  private pings: Pings | null = null
  /** Of the hops and routes that are awaited: answers about another device come too late. */
  private turn = 0

  constructor(close: () => void) {
    this.element = h(
      'section',
      { class: 'card device-detail', hidden: true, 'aria-labelledby': 'device-heading' },
      h('button', { type: 'button', class: 'back', onclick: close, 'aria-label': texts.app.back }, icon('back'), texts.app.back),
      this.heading,
      this.path,
      h('h3', {}, t.why),
      this.why,
      this.routes,
      h('h3', {}, t.ping),
      h('div', { class: 'buttons' }, this.pingButton),
      this.pingText,
      this.chart,
      h('h3', {}, t.hops),
      h('div', { class: 'buttons' }, this.hopsButton),
      this.hopsText,
      this.hops,
      h('h3', {}, t.facts),
      this.facts,
    )
    this.heading.id = 'device-heading'
  }

  show(device: Device | null): void {
    const other = device?.node !== this.device?.node
    if (other) this.reset()
    this.device = device
    show(this.element, device !== null)
    if (device === null) return
    putWhenChanged(this.heading, device.name, () => [name(device.name)])
    setText(this.path, device.rtt === null ? pathText(device) : `${pathText(device)} · ${fill(texts.devices.rtt, { ms: milliseconds(device.rtt) })}`)
    setText(this.why, whyText(device))
    this.address.set(device.address)
    putWhenChanged(this.facts, JSON.stringify(device), () => this.factRows(device))
    if (other) {
      this.heading.focus()
      void this.findRoutes(device)
    }
  }

  private reset(): void {
    this.turn += 1
    if (this.pings !== null) this.stopPing()
    put(this.chart)
    put(this.hops)
    put(this.routes)
    setText(this.pingText, t.pingIdle)
    setText(this.hopsText, '')
  }

  private factRows(device: Device): HTMLElement[] {
    const { peer, member } = device
    const rows: [string, string | HTMLElement | null][] = [
      [t.address, this.address.element],
      [t.endpoint, peer?.endpoint ?? null],
      [t.cost, peer?.cost?.toString() ?? null],
      [t.metric, peer?.metric?.toString() ?? null],
      [t.mtu, peer?.mtu ? fill(t.octets, { count: peer.mtu }) : null],
      [t.cipher, peer?.cipher ?? null],
      [t.sent, peer ? octets(peer.sent_octets) : null],
      [t.received, peer ? octets(peer.received_octets) : null],
      [t.handshake, peer?.last_handshake_seconds !== undefined && peer.last_handshake_seconds !== null ? ago(peer.last_handshake_seconds) : null],
      [t.role, member.leaf ? t.leaf : member.relay ? t.relay : null],
    ]
    return rows.flatMap(([label, value]) => (value === null ? [] : [h('dt', {}, label), h('dd', {}, value)]))
  }

  private async findRoutes(device: Device): Promise<void> {
    const turn = this.turn
    try {
      const routes = routesTo(device, await api.routes())
      if (turn === this.turn && routes.length > 0) put(this.routes, routeTable(routes))
    } catch {
      // The sentence above the table stands without it.
    }
  }

  private togglePing(): void {
    if (this.pings !== null) this.stopPing()
    else if (this.device !== null) void this.runPing(this.device)
  }

  private stopPing(): void {
    this.pings = null
    setText(this.pingButton, t.pingStart)
    void api.pingStop()
  }

  private async runPing(device: Device): Promise<void> {
    const pings = new Pings()
    this.pings = pings
    setText(this.pingButton, t.pingStop)
    try {
      await api.ping(device.address, (line) => this.pinged(pings, line))
    } catch (error) {
      if (this.pings === pings) setText(this.pingText, fill(t.pingFailed, { reason: failureOf(error).message }))
    }
    if (this.pings === pings) {
      this.pings = null
      setText(this.pingButton, t.pingStart)
    }
  }

  private pinged(pings: Pings, line: ProbeLine): void {
    if (this.pings !== pings) return
    pings.take(line)
    const { sent, received, min, mean, max } = pings
    if (sent === 0) return
    const none = received === 0
    setText(
      this.pingText,
      none
        ? fill(t.pingNone, { sent })
        : fill(t.pingResult, { sent, received, min: milliseconds(min), mean: milliseconds(mean), max: milliseconds(max) }),
    )
    put(this.chart, pingChart(pings))
  }

  private async trace(): Promise<void> {
    const device = this.device
    if (device === null) return
    const turn = this.turn
    put(this.hops)
    setText(this.hopsText, t.hopsRunning)
    try {
      await api.trace(device.address, (line) => {
        if (turn === this.turn) this.traced(device, line)
      })
    } catch (error) {
      if (turn === this.turn) setText(this.hopsText, fill(t.hopsFailed, { reason: failureOf(error).message }))
    }
  }

  private traced(device: Device, line: TraceLine): void {
    if (line.line === 'done') setText(this.hopsText, line.reached ? '' : fill(t.hopsUnreached, { name: device.name }))
    if (line.line !== 'hop') return
    const who = line.name ?? line.from
    this.hops.append(
      h(
        'li',
        { value: line.hop },
        who === null ? h('em', {}, t.hopSilent) : name(who),
        line.rtt_ms === null ? null : h('span', { class: 'hop-rtt' }, fill(texts.devices.rtt, { ms: milliseconds(line.rtt_ms) })),
      ),
    )
  }
}

function routeTable(routes: readonly Route[]): HTMLElement {
  const rows = routes.map((route) =>
    h(
      'tr',
      {},
      h('td', {}, route.via === null ? t.ownRoute : name(route.via)),
      h('td', { class: 'number' }, String(route.metric)),
      h('td', {}, route.selected ? t.yes : t.no),
      h('td', {}, sentence(route.why)),
    ),
  )
  const head = [t.through, t.routeMetric, t.routeUse, t.reason].map((text) => h('th', { scope: 'col' }, text))
  return h(
    'details',
    {},
    h('summary', {}, t.whyRoutes),
    h('div', { class: 'scroll', tabindex: 0 }, h('table', {}, h('thead', {}, h('tr', {}, ...head)), h('tbody', {}, ...rows))),
  )
}

function pingChart(pings: Pings): SVGSVGElement {
  const { width, height } = CHART
  const recent = pings.recent
  const top = Math.max(...recent.map((ms) => ms ?? 0), 1) * 1.15
  const step = width / Pings.KEPT
  const bars = recent.map((ms, i) => {
    const tall = ms === null ? height : Math.max(2, (ms / top) * height)
    return svg('rect', {
      x: i * step,
      y: height - tall,
      width: Math.max(1, step - 1.5),
      height: tall,
      class: ms === null ? 'lost' : 'answered',
    })
  })
  const chart = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', preserveAspectRatio: 'none' }, ...bars)
  set(chart, 'aria-label', fill(t.pingChart, { count: recent.length }))
  return chart
}
