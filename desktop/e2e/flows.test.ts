// What people do with the app, and what goes wrong meanwhile.

import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import jsQR from 'jsqr'
import { afterEach, describe, expect, test } from 'vitest'
import { en } from '../src/texts/en'
import { until } from './lib/process'
import { flaws, shoot, useSize } from './lib/shots'
import { type Options, Stage } from './lib/stage'

let stage: Stage | null = null

async function open(scenario: string, more: Partial<Options> = {}): Promise<Stage> {
  stage = await Stage.open({ scenario, ...more })
  return stage
}

afterEach(async () => {
  await stage?.close()
  stage = null
})

const INVITE = 'osier://join/AbCdEf0123456789'

describe('joining', () => {
  test('by a pasted invite leads to a connected node', async () => {
    const { driver } = await open('not-joined')
    await driver.type('#invite', `  osier://join/AbCdEf\n0123456789 `)
    await driver.type('#device-name', 'berlin')
    await driver.click('button[type=submit]')
    await driver.sees('.big-line', 'Connected, 8 neighbours')
    await driver.sees('.home .facts', /berlin[\s\S]*fd6f:7369:6572:1::1[\s\S]*home/)
    // A secret until now, and spent: it is nowhere in the page.
    expect(await driver.run(`return document.querySelector('#invite').value`)).toBe('')
  })

  test('says what is wrong before anybody is asked', async () => {
    const { driver } = await open('not-joined')
    const said: [invite: string, name: string, where: string, text: string][] = [
      ['', '', '#invite-error', en.join.error.empty],
      ['https://example.org/', '', '#invite-error', en.join.error.notInvite],
      ['osier://join/', '', '#invite-error', en.join.error.invalid],
      ['osier://join/ab?c', '', '#invite-error', en.join.error.invalid],
      [INVITE, 'a b', '#name-error', en.join.error.badName],
      [INVITE, 'x'.repeat(200), '#name-error', 'A name has at most 63 characters; this one has 200.'],
    ]
    for (const [invite, name, where, text] of said) {
      await driver.run(`
        for (const [id, value] of [['invite', arguments[0]], ['device-name', arguments[1]]]) {
          const field = document.getElementById(id)
          field.value = value
          field.dispatchEvent(new Event('input'))
        }`, invite, name)
      await driver.click('button[type=submit]')
      await driver.sees(where, text)
    }
    await useSize(driver, 'narrow')
    expect(await flaws(driver)).toEqual([])
    await shoot(driver, 'join-bad-name')
  })

  test('by making a network, and inviting others to it', async () => {
    const { driver } = await open('not-joined')
    await driver.click('.create summary')
    await driver.click('.create button[type=submit]')
    await driver.sees('#network-error', en.create.empty)
    await useSize(driver, 'narrow')
    expect(await flaws(driver)).toEqual([])
    await shoot(driver, 'create')
    await driver.type('#network-name', 'home')
    await driver.click('.create button[type=submit]')
    await driver.sees('.overview .empty', en.devices.empty)
    await driver.click('.invite summary')
    await driver.click('.invite .buttons button')
    await driver.sees('.invite .hint', /Good for one device, for .*https:\/\/192\.0\.2\.7:6690/)
    expect(await flaws(driver)).toEqual([])
    await useSize(driver, 'wide')
    await shoot(driver, 'invite')
    // What a phone would see.
    const link = await driver.run<string>(`return document.querySelector('.invite .copy-text').textContent`)
    expect(link).toMatch(/^osier:\/\/join\//)
    const path = await driver.run<[string, string]>(
      `const code = document.querySelector('.qr svg'); return [code.getAttribute('viewBox'), code.querySelector('path').getAttribute('d')]`,
    )
    expect(scanned(...path)).toBe(link)
    await driver.run(`location.hash = 'home'`)
    await driver.sees('.big-line', /./)
    expect(await driver.run(`return document.querySelector('.invite .copy-text').textContent`)).toBe('')
  })

  test.each([
    ['invite-invalid', en.join.error.invalid],
    ['invite-expired', en.join.error.expired],
    ['invite-used', en.join.error.used],
    ['invite-unknown', en.join.error.unknown],
    ['registry-silent', en.join.error.unreachable],
    ['name-taken', 'Another device already has the name berlin. Choose another one.'],
  ])('tells that of a refusal: %s', async (scenario, text) => {
    const { driver } = await open(scenario)
    await driver.type('#invite', INVITE)
    await driver.type('#device-name', 'berlin')
    await driver.click('button[type=submit]')
    await driver.sees('form > .complaint:last-child', text)
    expect(await driver.run(`return document.querySelector('#invite').value`)).toBe(INVITE)
    await useSize(driver, 'wide')
    await shoot(driver, `join-${scenario}`)
  })

  test('by a link: the first start, and the one that runs already', async () => {
    const opened = await open('not-joined', { args: [INVITE] })
    await opened.driver.sees('.news', en.join.fromLink)
    expect(await opened.driver.run(`return document.querySelector('#invite').value`)).toBe(INVITE)
    await opened.driver.run(`document.querySelector('#invite').value = ''; location.hash = 'settings'`)
    const second = opened.again('osier://join/SecondInvite42')
    await opened.driver.sees('.news', en.join.fromLink)
    expect(await opened.driver.run(`return document.querySelector('#invite').value`)).toBe('osier://join/SecondInvite42')
    await until('the second start to end', () => second.ended)
  })

  test('by a picture of a QR code', async () => {
    const { driver } = await open('not-joined')
    const give = (bytes: string, type: string) =>
      driver.run(`
        const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0))
        const transfer = new DataTransfer()
        transfer.items.add(new File([bytes], 'code', { type: arguments[1] }))
        const input = document.querySelector('input[type=file]')
        input.files = transfer.files
        input.dispatchEvent(new Event('change'))`, bytes, type)
    const picture = (name: string) => readFileSync(join(__dirname, 'pictures', name)).toString('base64')
    await give(picture('invite.png'), 'image/png')
    await driver.sees('.news', en.join.qrFound)
    expect(await driver.run(`return document.querySelector('#invite').value`)).toBe(INVITE)
    await give(picture('other.png'), 'image/png')
    await driver.sees('#invite-error', en.join.qrOther)
    await give(readFileSync(join(__dirname, '../src-tauri/icons/64x64.png')).toString('base64'), 'image/png')
    await driver.sees('#invite-error', en.join.qrNone)
    await give(btoa('no picture'), 'image/png')
    await driver.sees('#invite-error', en.join.qrBroken)
  })
})

describe('the switch', () => {
  test('turns off and on', async () => {
    const { driver } = await open('connected')
    await driver.sees('.big-line', 'Connected, 8 neighbours')
    await driver.click('.switch')
    await driver.sees('.big-line', 'Off')
    expect(await driver.run(`return document.querySelector('.switch').getAttribute('aria-checked')`)).toBe('false')
    await driver.click('.switch')
    await driver.sees('.big-line', 'Starting…')
  })

  test('says why it was not obeyed', async () => {
    const { driver } = await open('unmanaged')
    await driver.sees('.big-line', 'Connected, 8 neighbours')
    await driver.click('.switch')
    await driver.sees('.hero .complaint', /only `osier up --service` takes this request\. end it with `osier down`/)
    await driver.sees('.big-line', 'Connected, 8 neighbours')
  })
})

describe('the service', () => {
  test('dies, and is started by the button', async () => {
    const opened = await open('connected')
    const { driver } = opened
    await driver.sees('.big-line', 'Connected, 8 neighbours')
    await opened.play('gone')
    await driver.sees('.state-text', 'Service not running')
    await driver.sees('.problem h1', 'Service not running')
    const asked = join(opened.folder, 'asked')
    opened.provide('systemctl', 'exit 0')
    opened.provide('pkexec', `echo "$@" > ${asked}`)
    await driver.click('.problem button.primary')
    // The shell makes the file before it writes into it: what counts is the whole line.
    const request = () => (existsSync(asked) ? readFileSync(asked, 'utf8') : '')
    await until('pkexec to be asked', () => request().endsWith('\n'))
    expect(request().trim()).toBe('systemctl start osier.service')
    await opened.play('connected')
    await driver.sees('.big-line', 'Connected, 8 neighbours')
  })

  test('cannot be started: each reason has its words', async () => {
    const opened = await open('gone')
    const { driver } = opened
    await driver.sees('.problem h1', 'Service not running')
    opened.provide('systemctl', 'exit 0')
    const cases: [script: string, text: string | RegExp][] = [
      ['exit 126', en.problem.notPermitted],
      ['exit 5', en.problem.notInstalled],
      ['echo "Job for osier.service failed" >&2; exit 1', /Job for osier\.service failed/],
    ]
    for (const [script, text] of cases) {
      opened.provide('pkexec', script)
      await driver.click('.problem button.primary')
      await driver.sees('.problem .complaint', text)
      expect(await flaws(driver)).toEqual([])
    }
    await shoot(driver, 'problem-start-failed')
  })

  test('belongs to others', async () => {
    const { driver } = await open('locked', { unprivileged: true })
    await driver.sees('.problem h1', en.state.noPermission)
    await driver.sees('.problem .command', 'sudo usermod -aG osier ada')
    await useSize(driver, 'wide')
    await shoot(driver, 'problem-no-permission')
  })

  test('falls silent: nothing claims to be connected any more', async () => {
    const opened = await open('connected')
    await opened.driver.sees('.state-text', 'Connected, 8 neighbours')
    await opened.play('silent')
    await opened.driver.sees('.state-text', en.state.notAnswering)
  })

  test('of a newer version is served as far as it is understood', async () => {
    const { driver } = await open('newer')
    await driver.sees('.state-text', 'Looking for neighbours (8 of 8)…')
    await driver.sees('.banner', /The flux is high/)
  })
})

describe('by keyboard', () => {
  test('every screen is reached, and the switch obeys', async () => {
    const { driver } = await open('connected')
    await driver.sees('.big-line', 'Connected, 8 neighbours')
    const focused = () => driver.run<string>(`const e = document.activeElement; return e.className || e.getAttribute('href') || e.tagName`)
    const tab = '\uE004'
    await driver.press(tab)
    expect(await focused()).toBe('skip')
    for (const place of ['home', 'devices', 'topology', 'usage', 'diagnostics', 'settings']) {
      await driver.press(tab)
      expect(await focused()).toBe(`#${place}`)
    }
    await driver.run(`document.querySelector('nav a[href="#devices"]').focus()`)
    await driver.press('\uE007')
    await driver.sees('.overview > .hint', '12 devices of 12')
    expect(await driver.run(`return document.activeElement.tagName`)).toBe('H1')
    await driver.run(`location.hash = 'home'`)
    await driver.find('.switch')
    await driver.run(`document.querySelector('.switch').focus()`)
    await driver.press(' ')
    await driver.sees('.big-line', 'Off')
  })

  test('the state is announced, and the landmarks have names', async () => {
    const { driver } = await open('connected')
    await driver.sees('.state-text', 'Connected, 8 neighbours')
    const landmarks = await driver.run<string[]>(`
      return ['main', 'nav[aria-label]', '[role=status][aria-live=polite] .state-text', '[role=switch][aria-label]', 'h1']
        .filter((s) => document.querySelector(s) === null)`)
    expect(landmarks).toEqual([])
  })
})

test('search and filters find a device among a thousand', async () => {
  const { driver } = await open('thousand')
  await driver.run(`location.hash = 'devices'`)
  await driver.sees('.overview > .hint', '1000 devices of 1000')
  await driver.type('#search', 'tokyo-0002')
  await driver.sees('.overview > .hint', '1 device of 1000')
  await driver.type('#search', 'nobody')
  await driver.sees('.empty', en.devices.noMatch)
  await driver.type('#search', ' ')
  await driver.click('.segments button:nth-child(2)')
  await driver.sees('.overview > .hint', '25 devices of 1000')
})

test('usage and the support bundle are saved as files of this user alone', async () => {
  const opened = await open('connected')
  const { driver } = opened
  await driver.run(`location.hash = 'usage'`)
  await driver.click('.usage .buttons button:not([disabled])')
  await driver.sees('.usage .news', /^Saved to .*osier-usage-2026-11-28\.csv$/)
  const folder = (await driver.text('.usage .news')).replace('Saved to ', '').replace(/\/[^/]*$/, '')
  expect(folder.startsWith(opened.home)).toBe(true)
  const text = readFileSync(join(folder, 'osier-usage-2026-11-28.csv'), 'utf8')
  expect(text.split('\r\n')[0]).toBe('date,own_sent_octets,own_received_octets,carried_sent_octets,carried_received_octets')
  expect(text.split('\r\n')).toContain('2026-11-28,734000000,1932000000,638000000,638000000')
  await driver.run(`location.hash = 'diagnostics'`)
  await driver.click('.diagnostics .buttons button:nth-child(2)')
  await driver.sees('.diagnostics .news', /^Saved to .*osier-support-/)
  expect(readdirSync(folder).filter((name) => name.startsWith('osier-support-'))).toHaveLength(1)
})

test('the colours follow the system, and the setting overrides it', async () => {
  const { driver } = await open('connected', { environment: { GTK_THEME: 'Adwaita:dark' } })
  const ground = () => driver.run<string>('return getComputedStyle(document.body).backgroundColor')
  expect(await ground()).toBe('rgb(20, 24, 23)')
  await driver.run(`location.hash = 'settings'`)
  await driver.click('input[value=light]')
  await until('a light page', async () => (await ground()) === 'rgb(244, 245, 244)')
  await driver.click('input[value=system]')
  await until('a dark page', async () => (await ground()) === 'rgb(20, 24, 23)')
})

test('starting at login is written where the desktop looks, and taken away again', async () => {
  const opened = await open('connected')
  const { driver } = opened
  await driver.run(`location.hash = 'settings'`)
  await driver.find('input[type=checkbox]:not([disabled])')
  const folder = join(opened.home, '.config/autostart')
  const files = () => (existsSync(folder) ? readdirSync(folder) : [])
  expect(files()).toEqual([])
  await driver.click('input[type=checkbox]')
  await until('an entry', () => files().length === 1)
  expect(readFileSync(join(folder, files()[0] as string), 'utf8')).toMatch(/Exec=.*osier-desktop.* --hidden/)
  await driver.click('input[type=checkbox]')
  await until('no entry', () => files().length === 0)
})

/** What a camera reads in a code that is drawn as a path of modules. */
function scanned(viewBox: string, path: string): string | undefined {
  const scale = 4
  const size = Number(viewBox.split(' ')[2]) * scale
  const pixels = new Uint8ClampedArray(size * size * 4).fill(255)
  for (const [, x, y] of path.matchAll(/M(\d+) (\d+)h1v1h-1z/g)) {
    for (let i = 0; i < scale * scale; i++) {
      const at = (Number(y) * scale + Math.floor(i / scale)) * size + Number(x) * scale + (i % scale)
      pixels.set([0, 0, 0], at * 4)
    }
  }
  return jsQR(pixels, size, size)?.data
}
