// All devices of the network, with search; one of them in detail.

import { api, failureOf } from '../api/client'
import type { App, Place } from '../app'
import { type Device, type Filter, devicesOf, pathText, select } from '../model/devices'
import { milliseconds } from '../model/format'
import { counted, fill, texts } from '../texts'
import { Keyed, h, name, set, setText, show } from '../ui/dom'
import { DeviceDetail } from './device'
import { InviteCard } from './invite'
import type { Screen } from './screen'

const t = texts.devices
const FILTERS: readonly Filter[] = ['all', 'direct', 'relayed', 'unreachable']
/** Lists of a thousand are not fetched with every answer. */
const FETCH_MS = 4_000

export function devices(app: App): Screen {
  const search = h('input', {
    type: 'search',
    id: 'search',
    placeholder: t.searchHint,
    'aria-label': t.search,
    autocomplete: 'off',
    spellcheck: 'false',
    oninput: () => showList(),
  })
  let filter: Filter = 'all'
  const filters = FILTERS.map((which) =>
    h('button', { type: 'button', 'aria-pressed': which === filter ? 'true' : 'false', onclick: () => choose(which) }, t.filters[which]),
  )
  const count = h('p', { class: 'hint', role: 'status' })
  const empty = h('p', { class: 'empty', hidden: true })
  const list = h('ul', { class: 'devices' })
  const rows = new Keyed<Device, HTMLLIElement>(list, (d) => d.node, makeRow, updateRow)
  const inviting = new InviteCard()
  const detail = new DeviceDetail(() => app.go('devices'))
  const overview = h(
    'div',
    { class: 'overview' },
    h('h1', { tabindex: -1 }, t.title),
    h('div', { class: 'tools' }, search, h('div', { class: 'segments', role: 'group', 'aria-label': t.filter }, ...filters)),
    inviting.element,
    count,
    empty,
    list,
  )
  const element = h('div', { class: 'screen split' }, overview, detail.element)

  let all: Device[] = []
  let loaded = false
  let wanted: string | null = null
  let fetched = -Infinity
  let entered = 0

  function makeRow(device: Device): HTMLLIElement {
    const button = h(
      'button',
      { type: 'button', class: 'device', onclick: () => app.go('devices', device.node) },
      h('span', { class: 'dot', 'aria-hidden': 'true' }),
      h('span', { class: 'device-name' }),
      h('span', { class: 'device-path' }),
      h('span', { class: 'device-rtt' }),
    )
    return h('li', {}, button)
  }

  function updateRow(li: HTMLLIElement, device: Device): void {
    const [button] = li.children
    const [, label, path, rtt] = button?.children ?? []
    if (!button || !label || !path || !rtt) return
    set(li, 'data-path', device.path)
    set(button, 'aria-current', device.node === wanted ? 'true' : null)
    if (label.textContent !== device.name) label.replaceChildren(name(device.name))
    setText(path, pathText(device))
    set(path, 'title', pathText(device))
    setText(rtt, device.rtt === null ? t.noRtt : fill(t.rtt, { ms: milliseconds(device.rtt) }))
  }

  function choose(which: Filter): void {
    filter = which
    filters.forEach((button, i) => set(button, 'aria-pressed', FILTERS[i] === which ? 'true' : 'false'))
    showList()
  }

  function showList(): void {
    const shown = select(all, search.value, filter)
    rows.show(shown)
    const running = app.snapshot.service?.state === 'running'
    setText(count, all.length === 0 ? '' : counted(t.shown, shown.length, { total: all.length }))
    const text = !running ? t.off : !loaded ? texts.app.loading : all.length === 0 ? t.empty : shown.length === 0 ? t.noMatch : ''
    setText(empty, text)
    show(empty, text !== '')
  }

  async function load(): Promise<void> {
    if (app.snapshot.service?.state !== 'running') {
      all = []
      showList()
      return
    }
    fetched = performance.now()
    const mine = entered
    try {
      const [members, peers] = await Promise.all([api.members(), api.peers()])
      if (mine !== entered) return
      all = devicesOf(members, peers)
      loaded = true
    } catch (error) {
      // The state line says what is wrong with the service; a refusal means that the node is just stopping.
      if (failureOf(error).kind === 'refused') all = []
    }
    showList()
    showDetail()
  }

  function showDetail(): void {
    const device = wanted === null ? null : (all.find((d) => d.node === wanted) ?? null)
    set(element, 'data-detail', device === null ? null : 'open')
    detail.show(device)
  }

  return {
    element,
    enter(place: Place) {
      const before = wanted
      wanted = place.device
      entered += 1
      inviting.update((app.snapshot.service?.hosting ?? null) !== null)
      showList()
      showDetail()
      if (wanted === null && before !== null) rows.get(before)?.querySelector('button')?.focus()
      void load()
    },
    leave() {
      entered += 1
      detail.show(null)
      inviting.leave()
    },
    update() {
      inviting.update((app.snapshot.service?.hosting ?? null) !== null)
      if (performance.now() - fetched > FETCH_MS || !loaded) void load()
    },
  }
}
