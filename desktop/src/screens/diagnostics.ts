// Checks, each with what was seen and what to do; and a bundle for whoever helps.

import { api, failureOf, shell } from '../api/client'
import type { Check } from '../api/types'
import { sentence } from '../model/format'
import { counted, fill, texts } from '../texts'
import { h, icon, put, set, setText } from '../ui/dom'
import type { Screen } from './screen'

const t = texts.diagnostics

export function diagnostics(): Screen {
  const run = h('button', { type: 'button', class: 'primary', onclick: () => void check() }, t.run)
  const bundle = h('button', { type: 'button', 'aria-describedby': 'bundle-hint', onclick: () => void save() }, t.bundle)
  const summary = h('p', { class: 'lead', role: 'status' })
  const list = h('ul', { class: 'card checks', 'aria-label': t.list, hidden: true })
  const news = h('p', { class: 'news', role: 'status' })
  const element = h(
    'div',
    { class: 'screen diagnostics' },
    h('h1', { tabindex: -1 }, t.title),
    h('p', { class: 'lead' }, t.lead),
    h('div', { class: 'buttons' }, run, bundle),
    h('p', { id: 'bundle-hint', class: 'hint' }, t.bundleHint),
    news,
    summary,
    list,
  )
  let running = false

  async function check(): Promise<void> {
    if (running) return
    running = true
    set(run, 'aria-disabled', 'true')
    setText(summary, t.running)
    try {
      const { checks } = await api.diagnostics()
      const bad = checks.filter((c) => c.verdict !== 'ok').length
      setText(summary, bad === 0 ? t.allGood : counted(t.summary, bad))
      put(list, ...checks.map(itemOf))
      set(list, 'hidden', checks.length === 0)
    } catch (error) {
      setText(summary, fill(t.failed, { reason: failureOf(error).message }))
    }
    running = false
    set(run, 'aria-disabled', null)
  }

  async function save(): Promise<void> {
    try {
      const text = await api.bundle()
      const date = new Date().toISOString().slice(0, 10)
      setText(news, fill(texts.app.saved, { path: await shell.save(`osier-support-${date}.txt`, text) }))
    } catch (error) {
      setText(news, fill(texts.app.saveFailed, { reason: failureOf(error).message }))
    }
  }

  return {
    element,
    enter: () => void check(),
    leave: () => setText(news, ''),
    update: () => undefined,
  }
}

function itemOf(check: Check): HTMLElement {
  const label = { ok: t.result.ok, warning: t.result.warning, error: t.result.failed }[check.verdict]
  const title = (t.names as Readonly<Record<string, string>>)[check.name] ?? check.name
  return h(
    'li',
    { class: `health ${check.verdict}` },
    icon(check.verdict === 'ok' ? 'check' : check.verdict),
    h(
      'div',
      {},
      h('strong', {}, title),
      h('span', { class: 'verdict' }, label),
      h('p', {}, sentence(check.seen)),
      check.fix === null ? null : h('p', { class: 'fix' }, fill(t.fix, { fix: sentence(check.fix) })),
    ),
  )
}
