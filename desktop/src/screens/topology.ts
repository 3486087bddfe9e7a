// The mesh as a picture, and the same as a table.

import { api } from '../api/client'
import type { Topology } from '../api/types'
import type { App } from '../app'
import { type Dot, RADIUS, picture } from '../model/topology'
import { counted, fill, texts } from '../texts'
import { h, name, put, set, setText, show, svg } from '../ui/dom'
import type { Screen } from './screen'

const t = texts.topology
const FETCH_MS = 5_000
const HEIGHT = { wide: 440, narrow: 380 }
const NARROW = 560

export function topology(app: App): Screen {
  const drawing = h('div', { class: 'drawing' })
  const legend = h(
    'p',
    { class: 'legend', 'aria-hidden': 'true' },
    h('span', { class: 'key tunnel' }, t.legendTunnel),
    h('span', { class: 'key behind' }, t.legendBehind),
    h('span', { class: 'key lost' }, t.legendUnreachable),
  )
  const body = h('tbody', {})
  const head = [t.from, t.to, t.kind, t.cost].map((text) => h('th', { scope: 'col' }, text))
  const table = h(
    'div',
    { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': t.table },
    h('table', {}, h('caption', {}, t.table), h('thead', {}, h('tr', {}, ...head)), body),
  )
  const empty = h('p', { class: 'empty', hidden: true })
  const content = h('div', {}, h('section', { class: 'card' }, drawing, legend), table)
  const element = h('div', { class: 'screen topology' }, h('h1', { tabindex: -1 }, t.title), empty, content)
  let newest: Topology | null = null
  let shown = ''
  let fetched = -Infinity
  let visible = false
  const resized = new ResizeObserver(() => draw())
  resized.observe(drawing)

  function draw(): void {
    if (newest === null || !visible) return
    const width = Math.max(300, drawing.clientWidth)
    const height = width < NARROW ? HEIGHT.narrow : HEIGHT.wide
    const key = JSON.stringify([newest, width])
    if (key === shown) return
    shown = key
    const { dots, lines } = picture(newest, width, height)
    const tunnels = newest.links.filter((link) => link.tunnel).length
    const image = svg(
      'svg',
      { viewBox: `0 0 ${width} ${height}`, width, height, role: 'img' },
      ...lines.map((l) => svg('line', { x1: l.x1, y1: l.y1, x2: l.x2, y2: l.y2, class: l.tunnel ? 'tunnel' : 'behind' })),
      ...dots.map((d) => dotOf(d)),
    )
    set(image, 'aria-label', fill(t.picture, { nodes: newest.nodes.length, tunnels }))
    put(drawing, image)
    put(body, ...newest.links.map((link) => rowOf(link)))
  }

  async function load(): Promise<void> {
    const running = app.snapshot.service?.state === 'running'
    if (running) {
      fetched = performance.now()
      try {
        newest = await api.topology()
      } catch {
        // The state line says what is wrong; the last picture stays.
      }
    } else newest = null
    const nothing = newest === null || newest.links.length === 0
    setText(empty, !running ? texts.devices.off : nothing ? t.empty : '')
    show(empty, nothing)
    show(content, !nothing)
    draw()
  }

  return {
    element,
    enter() {
      visible = true
      void load()
    },
    leave() {
      visible = false
    },
    update() {
      if (performance.now() - fetched > FETCH_MS || newest === null) void load()
    },
  }
}

function rowOf(link: Topology['links'][number]): HTMLElement {
  return h(
    'tr',
    {},
    h('td', {}, name(link.from)),
    h('td', {}, name(link.to)),
    h('td', {}, link.tunnel ? t.tunnel : t.behind),
    h('td', { class: 'number' }, link.cost === null ? '' : String(link.cost)),
  )
}

function dotOf(dot: Dot): SVGElement {
  const title = dot.kind === 'more' ? `${dot.name}: ${counted(t.more, dot.count)}` : dot.name
  const circle = svg('circle', { cx: dot.x, cy: dot.y, r: RADIUS[dot.kind] })
  const group = svg('g', { class: `node ${dot.kind}` }, svg('title', {}, title), circle)
  if (dot.label !== null) {
    const { text, x, y, anchor } = dot.label
    // Isolated, so that the anchor does not depend on the direction of the name's script.
    group.append(svg('text', { x, y, 'text-anchor': anchor, direction: 'ltr' }, `\u2068${text}\u2069`))
  }
  return group
}
