// The tray icon, as a panel sees it, and what the window's close button does with and without one.

import { afterEach, expect, test } from 'vitest'
import { until } from './lib/process'
import { Stage } from './lib/stage'

let stage: Stage | null = null

async function open(scenario: string, more: { tray: boolean; args?: string[] }): Promise<Stage> {
  stage = await Stage.open({ scenario, ...more })
  return stage
}

afterEach(async () => {
  await stage?.close()
  stage = null
})

const AROUND = ['Open Osier', 'Turn off', 'Devices', 'Diagnostics', 'Quit (the network stays as it is)']

test('the menu is rebuilt with every state, and the icon with every face', async () => {
  const opened = await open('connected', { tray: true })
  await until('the menu', async () => (await opened.trayTexts())?.[0] === 'Connected, 8 neighbours')
  expect(await opened.trayTexts()).toEqual(['Connected, 8 neighbours', 'berlin · fd6f:7369:6572:1::1', ...AROUND])
  const icons = new Set([await opened.panel<string>('icon')])
  const states: [scenario: string, line: string][] = [
    ['looking', 'Looking for neighbours (2 of 10)…'],
    ['udp-blocked', 'Limited: UDP is blocked here'],
    ['revoked', 'Revoked'],
    ['off', 'Off'],
  ]
  for (const [scenario, line] of states) {
    await opened.play(scenario)
    await until(line, async () => (await opened.trayTexts())?.[0] === line)
    icons.add(await opened.panel<string>('icon'))
  }
  expect(icons.size).toBe(5)
  expect(await opened.trayTexts()).toContain('Turn on')
  await opened.play('gone')
  await until('the end of the service', async () => (await opened.trayTexts())?.[0] === 'Service not running')
  expect(await opened.trayTexts()).not.toContain('Turn on')
})

test('its entries do what they say', async () => {
  const opened = await open('connected', { tray: true })
  await until('the menu', async () => (await opened.trayTexts())?.includes('Turn off'))
  expect(await opened.panel('click Turn off')).toBe(true)
  await opened.driver.sees('.big-line', 'Off')
  await until('the other entry', async () => (await opened.trayTexts())?.includes('Turn on'))
  expect(await opened.panel('click Diagnostics')).toBe(true)
  await opened.driver.sees('.diagnostics h1', 'Diagnostics')
})

test('closing the window leaves the app in the tray, which opens it again', async () => {
  const opened = await open('connected', { tray: true })
  await opened.driver.sees('.big-line', 'Connected, 8 neighbours')
  await until('the menu', async () => (await opened.trayTexts())?.includes('Open Osier'))
  expect(await opened.panel('windows')).toContain('Osier')
  expect(await opened.panel('close Osier')).toBe(true)
  await until('no window', async () => !(await opened.panel<string[]>('windows')).includes('Osier'))
  // It still watches, and still obeys.
  await opened.play('looking')
  await until('the state', async () => (await opened.trayTexts())?.[0] === 'Looking for neighbours (2 of 10)…')
  await opened.panel('click Open Osier')
  await until('the window', async () => (await opened.panel<string[]>('windows')).includes('Osier'))
})

test('where there is no tray, closing the window ends the app, and the settings say so', async () => {
  const opened = await open('connected', { tray: false })
  await opened.driver.run(`location.hash = 'settings'`)
  await opened.driver.sees('.settings', /This desktop shows no tray icons\. Closing the window ends the app/)
  expect(await opened.panel('close Osier')).toBe(true)
  await until('no window', async () => !(await opened.panel<string[]>('windows')).includes('Osier'))
  // A window that is only hidden would still answer.
  await until('the app to end', () => opened.driver.run('return true').then(
    () => false,
    () => true,
  ))
})

test('started at login it waits in the tray', async () => {
  const opened = await open('connected', { tray: true, args: ['--hidden'] })
  await until('the menu', async () => (await opened.trayTexts())?.[0] === 'Connected, 8 neighbours')
  expect(await opened.panel('windows')).not.toContain('Osier')
  const second = opened.again()
  await until('the window', async () => (await opened.panel<string[]>('windows')).includes('Osier'))
  await until('the second start to end', () => second.ended)
})

test('started at login without a tray it shows its window', async () => {
  const opened = await open('connected', { tray: false, args: ['--hidden'] })
  await until('the window', async () => (await opened.panel<string[]>('windows')).includes('Osier'))
})
