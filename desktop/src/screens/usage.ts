// Traffic by day: own, and carried for others.

import { api, failureOf, shell } from '../api/client'
import type { Usage, UsageDay } from '../api/types'
import type { App } from '../app'
import { octets } from '../model/format'
import { csv, lastDays, total } from '../model/usage'
import { fill, texts } from '../texts'
import { h, put, set, setText, show, svg } from '../ui/dom'
import type { Screen } from './screen'

const t = texts.usage
const FETCH_MS = 15_000
const DAYS = 30
const CHART = { width: 720, height: 160, gap: 4 }

export function usage(app: App): Screen {
  const chart = h('div', { class: 'chart days' })
  const legend = h(
    'p',
    { class: 'legend', 'aria-hidden': 'true' },
    h('span', { class: 'key own' }, t.legendOwn),
    h('span', { class: 'key carried' }, t.legendCarried),
  )
  const body = h('tbody', {})
  const head = [t.day, t.ownSent, t.ownReceived, t.carried].map((text, i) => h('th', { scope: 'col', class: i > 0 ? 'number' : null }, text))
  const table = h(
    'div',
    { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': t.tableLabel },
    h('table', {}, h('caption', {}, t.tableLabel), h('thead', {}, h('tr', {}, ...head)), body),
  )
  const button = h('button', { type: 'button', onclick: () => void save() }, t.export)
  const news = h('p', { class: 'news', role: 'status' })
  const empty = h('p', { class: 'empty', hidden: true }, t.empty)
  const content = h('div', {}, h('section', { class: 'card' }, chart, legend), table)
  const element = h(
    'div',
    { class: 'screen usage' },
    h('h1', { tabindex: -1 }, t.title),
    h('p', { class: 'lead' }, t.lead),
    h('div', { class: 'buttons' }, button),
    news,
    empty,
    content,
  )
  let newest: Usage | null = null
  let fetched = -Infinity

  async function load(): Promise<void> {
    fetched = performance.now()
    try {
      newest = await api.usage()
    } catch {
      // The state line says what is wrong; the last figures stay.
    }
    const days = newest?.days ?? []
    show(content, days.length > 0)
    show(empty, newest !== null && days.length === 0)
    set(button, 'disabled', days.length === 0)
    if (newest === null) return
    put(chart, bars(lastDays(newest, DAYS)))
    put(body, ...[...days].reverse().map(rowOf))
  }

  async function save(): Promise<void> {
    if (newest === null) return
    try {
      setText(news, fill(texts.app.saved, { path: await shell.save(`osier-usage-${newest.today}.csv`, csv(newest)) }))
    } catch (error) {
      setText(news, fill(texts.app.saveFailed, { reason: failureOf(error).message }))
    }
  }

  return {
    element,
    enter: () => void load(),
    leave: () => setText(news, ''),
    update() {
      if (app.state.face !== 'attention' && performance.now() - fetched > FETCH_MS) void load()
    },
  }
}

function rowOf(day: UsageDay): HTMLElement {
  const cells = [day.own.sent, day.own.received, total(day).carried]
  return h('tr', {}, h('th', { scope: 'row' }, day.date), ...cells.map((n) => h('td', { class: 'number' }, octets(n))))
}

function bars(days: readonly UsageDay[]): SVGSVGElement {
  const { width, height, gap } = CHART
  const most = Math.max(...days.map((d) => total(d).own + total(d).carried), 1)
  const step = width / Math.max(days.length, 1)
  const parts = days.flatMap((day, i) => {
    const { own, carried } = total(day)
    const ownTall = (own / most) * height
    const carriedTall = (carried / most) * height
    const x = i * step + gap / 2
    const title = `${day.date}: ${octets(own)} ${t.legendOwn}, ${octets(carried)} ${t.legendCarried}`
    return [
      svg(
        'g',
        {},
        svg('title', {}, title),
        svg('rect', { class: 'own', x, width: step - gap, y: height - ownTall, height: ownTall }),
        svg('rect', { class: 'carried', x, width: step - gap, y: height - ownTall - carriedTall, height: carriedTall }),
      ),
    ]
  })
  const chart = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', preserveAspectRatio: 'none' }, ...parts)
  set(chart, 'aria-label', fill(t.chart, { count: days.length }))
  return chart
}
