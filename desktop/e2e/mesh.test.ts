// The app with a real service in a real mesh: join, connect, lose a link, see the path change, switch off.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { Mesh } from './lib/mesh'
import { until } from './lib/process'
import { shoot } from './lib/shots'
import { Stage } from './lib/stage'

let mesh: Mesh
let stage: Stage

beforeAll(async () => {
  mesh = await Mesh.open()
  await mesh.node('ash')
  await mesh.node('birch')
  stage = await Stage.open({ scenario: null, service: await mesh.service('desk') })
})

afterAll(async () => {
  await stage?.close()
  await mesh?.close()
})

beforeEach(({ onTestFailed }) => {
  onTestFailed(() => console.error(mesh.story()))
})

/** How the list says that a device is reached. */
function path(device: string): Promise<string> {
  return stage.driver.run<string>(
    `
    const rows = [...document.querySelectorAll('.devices li')]
    const row = rows.find((li) => li.querySelector('.device-name').textContent === arguments[0])
    return row ? row.querySelector('.device-path').textContent : ''`,
    device,
  )
}

async function join(name: string, invite: string): Promise<void> {
  const { driver } = stage
  await driver.run(`location.hash = 'home'`)
  await driver.sees('.join h1', 'Join a network')
  await driver.type('#invite', invite)
  await driver.type('#device-name', name)
  await driver.click('button[type=submit]')
}

async function leave(): Promise<void> {
  const { driver } = stage
  await driver.run(`location.hash = 'settings'`)
  await driver.click('.settings [aria-labelledby=network] .buttons button')
  await driver.click('.settings button.danger')
  await driver.sees('.state-text', 'Not in a network yet')
}

test('joins, connects, goes round a cut link, and is switched off', async () => {
  const { driver } = stage
  await driver.sees('.state-text', 'Not in a network yet')
  await join('desk', mesh.invite())
  await driver.sees('.big-line', /^Connected/)
  await driver.sees('.home .facts', /desk[\s\S]*test/)
  await shoot(driver, 'mesh-connected')

  await driver.run(`location.hash = 'devices'`)
  await until('both to be direct', async () => (await path('ash')) === 'Direct' && (await path('birch')) === 'Direct')
  mesh.cut('desk', 'ash')
  await until('the way round', async () => (await path('ash')) === 'Relayed by birch')
  expect(await path('birch')).toBe('Direct')
  await shoot(driver, 'mesh-relayed')
  await driver.click('.devices li[data-path=relayed] button')
  await driver.sees('.device-detail', /Traffic goes through birch: that way has the lowest metric/)
  await driver.click('.device-detail h3:nth-of-type(3) + .buttons button')
  await driver.sees('.hops', /birch[\s\S]*ash/)

  await driver.run(`location.hash = 'home'`)
  await driver.sees('.big-line', /^Connected/)
  await driver.click('.switch')
  await driver.sees('.big-line', 'Off')
  await driver.click('.switch')
  await driver.sees('.big-line', /^Connected/)

  await leave()
})

test('tells of an invite that has been used', async () => {
  const { driver } = stage
  const invite = mesh.invite()
  await join('desk2', invite)
  await driver.sees('.big-line', /^Connected/)
  await leave()
  await join('desk3', invite)
  await driver.sees('form > .complaint:last-child', 'The invite has been used up. Ask for a new one.')
})
