// Joining by an invite: pasted, brought by a link, or read from a picture of its QR code. Or how a network is made.

import { api, failureOf } from '../api/client'
import type { JoinLine } from '../api/types'
import type { App } from '../app'
import { PREFIX, inviteError, nameError, refusalText, tidy } from '../model/invite'
import { fill, texts } from '../texts'
import { h, set, setText, show } from '../ui/dom'
import { creating } from './create'
import type { Screen } from './screen'

const t = texts.join
/** Larger pictures are scaled down: a code that needs more is not one that a phone could read. */
const LARGEST_PICTURE = 1600

export function join(app: App): Screen {
  const invite = h('textarea', {
    id: 'invite',
    rows: 3,
    spellcheck: 'false',
    autocomplete: 'off',
    autocapitalize: 'off',
    'aria-describedby': 'invite-hint invite-error',
    oninput: () => explain(inviteMessage, invite, ''),
  })
  const deviceName = h('input', {
    id: 'device-name',
    type: 'text',
    autocomplete: 'off',
    spellcheck: 'false',
    'aria-describedby': 'name-hint name-error',
    oninput: () => explain(nameMessage, deviceName, nameError(deviceName.value) ?? ''),
  })
  const inviteMessage = h('p', { id: 'invite-error', class: 'complaint', role: 'alert' })
  const nameMessage = h('p', { id: 'name-error', class: 'complaint', role: 'alert' })
  const result = h('p', { class: 'complaint', role: 'alert' })
  const news = h('p', { class: 'news', role: 'status' })
  const submit = h('button', { type: 'submit', class: 'primary' }, t.submit)
  const file = h('input', {
    type: 'file',
    accept: 'image/*',
    class: 'visually-hidden',
    tabindex: -1,
    'aria-hidden': 'true',
    onchange: () => void read(file.files?.[0] ?? null),
  })
  const form = h(
    'form',
    { class: 'card form', novalidate: true, onsubmit: (event) => void send(event) },
    h('label', { for: 'invite' }, t.invite),
    invite,
    h('p', { id: 'invite-hint', class: 'hint' }, t.inviteHint),
    inviteMessage,
    h(
      'div',
      { class: 'buttons' },
      h('button', { type: 'button', onclick: () => void paste() }, t.paste),
      h('button', { type: 'button', onclick: () => file.click() }, t.qr),
      file,
    ),
    h('label', { for: 'device-name' }, t.name),
    deviceName,
    h('p', { id: 'name-hint', class: 'hint' }, t.nameHint),
    nameMessage,
    h('div', { class: 'buttons' }, submit),
    news,
    result,
  )
  const member = h('p', { class: 'card notice', hidden: true })
  const element = h(
    'div',
    {
      class: 'screen join',
      ondragover: (event) => event.preventDefault(),
      ondrop: (event) => dropped(event),
      onpaste: (event) => pasted(event),
    },
    h('h1', { tabindex: -1 }, t.title),
    h('p', { class: 'lead' }, t.lead),
    member,
    form,
    creating(app, wantedName),
  )
  let busy = false

  function explain(message: HTMLElement, field: HTMLElement, text: string): void {
    setText(message, text)
    set(field, 'aria-invalid', text === '' ? null : 'true')
  }

  /** Null for the machine's name; undefined when it cannot be, which is told. */
  function wantedName(): string | null | undefined {
    const wrong = nameError(deviceName.value)
    explain(nameMessage, deviceName, wrong ?? '')
    if (wrong === null) return deviceName.value.trim() || null
    deviceName.focus()
    return undefined
  }

  async function paste(): Promise<void> {
    try {
      take(await navigator.clipboard.readText())
    } catch {
      explain(inviteMessage, invite, t.pasteFailed)
      invite.focus()
    }
  }

  function take(text: string): void {
    invite.value = text.trim()
    explain(inviteMessage, invite, inviteError(text) ?? '')
  }

  function dropped(event: Event): void {
    const files = (event as DragEvent).dataTransfer?.files
    if (!files?.length) return
    event.preventDefault()
    void read(files[0] ?? null)
  }

  function pasted(event: Event): void {
    const files = (event as ClipboardEvent).clipboardData?.files
    if (files?.length) void read(files[0] ?? null)
  }

  async function read(picture: File | null): Promise<void> {
    // So that choosing the same file again is noticed.
    file.value = ''
    if (picture === null) return
    setText(news, '')
    const text = await codeIn(picture)
    if (text === 'broken') return explain(inviteMessage, invite, t.qrBroken)
    if (text === null) return explain(inviteMessage, invite, t.qrNone)
    if (!text.content.startsWith(PREFIX)) return explain(inviteMessage, invite, t.qrOther)
    take(text.content)
    setText(news, t.qrFound)
  }

  async function send(event: Event): Promise<void> {
    event.preventDefault()
    if (busy) return
    const wrongInvite = inviteError(invite.value)
    explain(inviteMessage, invite, wrongInvite ?? '')
    setText(result, '')
    const name = wantedName()
    if (wrongInvite !== null) return invite.focus()
    if (name === undefined) return
    setBusy(true)
    try {
      let last: JoinLine | null = null
      await api.join(tidy(invite.value), name, (line) => {
        last = line
      })
      finish(last, name ?? '')
    } catch (error) {
      const { code, message, fix } = failureOf(error)
      setText(result, refusalText(code, message, fix ?? null, name ?? ''))
    }
    setBusy(false)
    await app.refresh()
  }

  function finish(last: JoinLine | null, name: string): void {
    if (last?.line === 'failed') return setText(result, refusalText(last.code, last.message, last.fix, name))
    if (last?.line !== 'done') return setText(result, fill(t.error.other, { reason: texts.state.notAnswering }))
    // It is spent, and was a secret until now.
    invite.value = ''
    app.invite = null
    app.go('home')
  }

  function setBusy(now: boolean): void {
    busy = now
    set(submit, 'aria-disabled', now ? 'true' : null)
    setText(submit, now ? t.joining : t.submit)
  }

  function update(): void {
    const joined = app.snapshot.service?.member ?? null
    show(member, joined !== null && !busy)
    if (joined !== null) setText(member, fill(t.alreadyMember, { network: joined.network.name }))
  }

  function enter(): void {
    if (app.invite !== null) {
      take(app.invite)
      setText(news, t.fromLink)
      app.invite = null
    }
    update()
  }

  return {
    element,
    enter,
    leave() {
      for (const message of [news, result, inviteMessage, nameMessage]) setText(message, '')
      // Nobody who walks by later should read it.
      invite.value = ''
    },
    update,
  }
}

async function codeIn(picture: File): Promise<{ content: string } | null | 'broken'> {
  try {
    const bitmap = await createImageBitmap(picture)
    const scale = Math.min(1, LARGEST_PICTURE / Math.max(bitmap.width, bitmap.height))
    const canvas = h('canvas', {})
    canvas.width = Math.max(1, Math.round(bitmap.width * scale))
    canvas.height = Math.max(1, Math.round(bitmap.height * scale))
    const context = canvas.getContext('2d')
    if (context === null) return 'broken'
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height)
    // Most people never need it.
    const { default: jsQR } = await import('jsqr')
    const code = jsQR(data, canvas.width, canvas.height)
    return code === null ? null : { content: code.data }
  } catch {
    return 'broken'
  }
}
