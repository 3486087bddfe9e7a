// Making a network: this device then runs its registry.

import { api, failureOf } from '../api/client'
import type { JoinLine } from '../api/types'
import type { App } from '../app'
import { networkNameError, refusalText } from '../model/invite'
import { fill, texts } from '../texts'
import { h, set, setText } from '../ui/dom'

const t = texts.create

/** `deviceName` is what this device is to be called: null for the machine's name, undefined when it cannot be. */
export function creating(app: App, deviceName: () => string | null | undefined): HTMLElement {
  const network = h('input', {
    id: 'network-name',
    type: 'text',
    autocomplete: 'off',
    'aria-describedby': 'network-hint network-error',
    oninput: () => explain(networkNameError(network.value) ?? ''),
  })
  const message = h('p', { id: 'network-error', class: 'complaint', role: 'alert' })
  const result = h('p', { class: 'complaint', role: 'alert' })
  const submit = h('button', { type: 'submit' }, t.submit)
  let busy = false

  function explain(text: string): void {
    setText(message, text)
    set(network, 'aria-invalid', text === '' ? null : 'true')
  }

  async function send(event: Event): Promise<void> {
    event.preventDefault()
    if (busy) return
    setText(result, '')
    const wrong = networkNameError(network.value)
    explain(wrong ?? '')
    if (wrong !== null) return network.focus()
    const name = deviceName()
    if (name === undefined) return
    setBusy(true)
    try {
      let last: JoinLine | null = null
      await api.createNetwork(network.value.trim(), name, (line) => {
        last = line
      })
      finish(last)
    } catch (error) {
      const { code, message, fix } = failureOf(error)
      setText(result, refusalText(code, message, fix ?? null, name ?? ''))
    }
    setBusy(false)
    await app.refresh()
  }

  function finish(last: JoinLine | null): void {
    if (last?.line === 'done') return app.go('devices')
    if (last?.line === 'failed') return setText(result, refusalText(last.code, last.message, last.fix, ''))
    setText(result, fill(texts.join.error.other, { reason: texts.state.notAnswering }))
  }

  function setBusy(now: boolean): void {
    busy = now
    set(submit, 'aria-disabled', now ? 'true' : null)
    setText(submit, now ? t.making : t.submit)
  }

  return h(
    'details',
    { class: 'card create' },
    h('summary', {}, texts.join.byCreating),
    h(
      'form',
      { class: 'form', novalidate: true, onsubmit: (event) => void send(event) },
      h('p', {}, t.lead),
      h('label', { for: 'network-name' }, t.name),
      network,
      h('p', { id: 'network-hint', class: 'hint' }, t.nameHint),
      message,
      h('div', { class: 'buttons' }, submit),
      result,
    ),
  )
}
