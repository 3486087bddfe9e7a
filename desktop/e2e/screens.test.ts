// Every screen and every state, in light and dark, wide and narrow: what it says, that nothing overlaps or is cut, and
// a screenshot of it.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { en } from '../src/texts/en'
import { until } from './lib/process'
import { SIZES, type Size, type Theme, flaws, shoot, useSize, useTheme } from './lib/shots'
import { Stage } from './lib/stage'

let stage: Stage

beforeAll(async () => {
  stage = await Stage.open({ scenario: 'connected' })
})

afterAll(async () => {
  await stage?.close()
})

/** A device of the scenario `connected`: delhi, which paris relays for. */
const DELHI = '14'.repeat(32)
const THEMES: Theme[] = ['light', 'dark']

async function go(place: string): Promise<void> {
  await stage.driver.run('location.hash = arguments[0]', place)
}

/** Takes the picture in all variants, and finds nothing wrong in any. */
async function look(name: string): Promise<void> {
  for (const size of Object.keys(SIZES) as Size[]) {
    await useSize(stage.driver, size)
    for (const theme of THEMES) {
      await useTheme(stage.driver, theme)
      await shoot(stage.driver, `${name}-${size}-${theme}`)
      expect(await flaws(stage.driver), `${name}, ${size}, ${theme}`).toEqual([])
    }
  }
}

/** In the order in which they are played: each changes into the next in the open window. */
const STATES: [scenario: string, line: string][] = [
  ['connected', 'Connected, 8 neighbours'],
  ['off', 'Off'],
  ['starting', 'Starting…'],
  ['looking', 'Looking for neighbours (2 of 10)…'],
  ['relayed', 'Connected through relays'],
  ['udp-blocked', 'Limited: UDP is blocked here'],
  ['offline', 'Offline, waiting for a network'],
  ['registry-unreachable', 'Registry unreachable, working from saved settings'],
  ['certificate-expiring', 'Certificate expires in 6 days'],
  ['certificate-expired', 'Certificate expired'],
  ['revoked', 'Revoked'],
  ['failed', 'The node could not start'],
  ['alone', 'No other device is known yet'],
  ['stopping', 'Stopping…'],
  ['gone', 'Service not running'],
  ['older', 'The service is of another version'],
  ['nonsense', 'The service is of another version'],
  ['strange-names', 'Connected, 8 neighbours'],
  ['thousand', 'Connected, 25 neighbours'],
]

describe('states', () => {
  test.each(STATES)('%s: %s', async (scenario, line) => {
    await go('home')
    await stage.play(scenario)
    await stage.driver.sees('.state-text', line)
    await look(`home-${scenario}`)
  })
})

describe('screens', () => {
  beforeAll(async () => {
    await stage.play('connected')
    await go('home')
    await stage.driver.sees('.state-text', 'Connected, 8 neighbours')
  })

  test('devices', async () => {
    await go('devices')
    await stage.driver.sees('.overview > .hint', '12 devices of 12')
    await look('devices')
  })

  test('a device', async () => {
    await go(`devices/${DELHI}`)
    await stage.driver.sees('.device-detail h2', 'delhi')
    await stage.driver.sees('.device-detail', /Traffic goes through paris: that way has the lowest metric/)
    await stage.driver.click('.device-detail h3:nth-of-type(3) + .buttons button')
    await stage.driver.sees('.hops', /paris[\s\S]*no answer[\s\S]*delhi/)
    await stage.driver.click('.device-detail h3:nth-of-type(2) + .buttons button')
    await stage.driver.sees('.device-detail h3:nth-of-type(2) + .buttons + .hint', /^(\d\d|[6-9]) of \d+ answered\. Least .* ms/)
    await stage.driver.click('.device-detail h3:nth-of-type(2) + .buttons button')
    await look('device')
    await stage.driver.run('document.querySelector(".hops").scrollIntoView()')
    await look('device-hops')
  })

  test('topology', async () => {
    await go('topology')
    await until('the picture', () => stage.driver.run('return document.querySelectorAll(".drawing .node").length === 13'))
    expect(await stage.driver.run('return document.querySelectorAll(".topology tbody tr").length')).toBe(11)
    await look('topology')
  })

  test('usage', async () => {
    await go('usage')
    await until('days', () => stage.driver.run('return document.querySelectorAll(".usage tbody tr").length === 14'))
    await look('usage')
  })

  test('diagnostics', async () => {
    await go('diagnostics')
    await stage.driver.sees('.diagnostics > .lead[role=status]', en.diagnostics.allGood)
    await look('diagnostics')
    await stage.play('udp-blocked')
    await stage.driver.click('.diagnostics button.primary')
    await stage.driver.sees('.diagnostics > .lead[role=status]', '2 checks need attention.')
    await look('diagnostics-udp-blocked')
    await stage.play('connected')
  })

  test('settings', async () => {
    await go('settings')
    await stage.driver.sees('.settings .facts', /Control socket/)
    await look('settings')
  })

  test('join', async () => {
    await stage.play('not-joined')
    await go('home')
    await stage.driver.sees('.state-text', 'Not in a network yet')
    await stage.driver.sees('.join h1', 'Join a network')
    await stage.driver.click('.create summary')
    await stage.driver.run('document.querySelector("main").scrollTop = 0')
    await look('join')
  })

  test('a thousand devices', async () => {
    await stage.play('thousand')
    await stage.driver.sees('.state-text', 'Connected, 25 neighbours')
    await go('devices')
    await stage.driver.sees('.overview > .hint', '1000 devices of 1000')
    await look('devices-thousand')
    await go('topology')
    await until('the picture', () => stage.driver.run('return document.querySelectorAll(".drawing .node.more").length > 20'))
    await look('topology-thousand')
  })

  test('strange names', async () => {
    await stage.play('strange-names')
    await go('devices')
    await stage.driver.sees('.overview > .hint', '9 devices of 9')
    await look('devices-strange-names')
    await go('topology')
    await until('the picture', () => stage.driver.run('return document.querySelectorAll(".drawing .node").length === 10'))
    await look('topology-strange-names')
    expect(await stage.driver.run('return document.querySelector("main b") === null')).toBe(true)
  })
})
