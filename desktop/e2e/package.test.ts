// The package as a user gets it: installed in a clean Debian that runs systemd, joined, used, and removed.

import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Mesh } from './lib/mesh'
import { until } from './lib/process'
import { Root, sh } from './lib/root'
import { program } from './lib/stage'

const [OUTSIDE, INSIDE] = ['10.77.0.1', '10.77.0.2']

let mesh: Mesh
let root: Root

beforeAll(async () => {
  root = await Root.boot()
  // A wire from the mesh to the root.
  sh('ip', 'link', 'add', 'wire', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(root.pid))
  sh('ip', 'address', 'add', `${OUTSIDE}/24`, 'dev', 'wire')
  sh('ip', 'link', 'set', 'wire', 'up')
  root.must('ip', 'address', 'add', `${INSIDE}/24`, 'dev', 'eth0')
  for (const link of ['lo', 'eth0']) root.must('ip', 'link', 'set', link, 'up')
  mesh = await Mesh.open(OUTSIDE)
  await mesh.node('ash', { tun: true })
  for (const user of ['ada', 'bob']) root.must('useradd', '--create-home', user)
}, 240_000)

afterAll(async () => {
  await root?.close()
  await mesh?.close()
}, 120_000)

function active(): boolean {
  return root.run('systemctl', 'is-active', 'osier.service').status === 0
}

test('is installed, runs, joins, and is removed', async () => {
  const deb = root.give('osier.deb', readFileSync(program('OSIER_DEB')))
  root.must('apt-get', 'install', '-y', '--no-install-recommends', deb)
  await until('the service to run', active)
  // Nothing that the app needs is missing.
  expect(root.must('ldd', '/usr/bin/osier-desktop')).not.toMatch(/not found/)
  expect(root.must('cat', '/usr/share/applications/Osier.desktop')).toMatch(/MimeType=.*x-scheme-handler\/osier/)
  expect(root.has('/usr/share/icons/hicolor/128x128/apps/osier-desktop.png')).toBe(true)

  // Only invited users control it.
  root.must('usermod', '-aG', 'osier', 'ada')
  const invite = mesh.invite()
  const bob = root.as('bob', ['osier', 'join', '-', '--name', 'desk'], invite)
  expect(bob.status, bob.output).toBe(5)
  const ada = root.as('ada', ['osier', 'join', '-', '--name', 'desk'], invite)
  expect(ada.status, ada.output).toBe(0)

  const connected = await until('a neighbour', () => {
    const { status, output } = root.as('ada', ['osier', 'status', '--json'])
    if (status !== 0) throw new Error(output)
    const said = JSON.parse(output) as { address: string; connection: { state: string } }
    if (said.connection.state !== 'connected') throw new Error(output)
    return said
  })
  // Real packets both ways, through both devices.
  await until('a ping', () => sh('ping', '-6', '-n', '-c', '1', '-W', '2', connected.address))

  // The app's button: it asks polkit, which asks the rule.
  root.must('systemctl', 'stop', 'osier.service')
  await until('the service to have stopped', () => !active())
  // By a shell, as pkexec asks for its parent, and that of the first program in the root is outside.
  const start = ['sh', '-c', 'pkexec systemctl start osier.service; exit $?']
  expect(root.as('bob', start).status).not.toBe(0)
  expect(active()).toBe(false)
  const button = root.as('ada', start)
  expect(button.status, button.output).toBe(0)
  await until('the service to run again', active)

  root.must('apt-get', 'remove', '-y', 'osier')
  expect(active()).toBe(false)
  expect(root.has('/usr/bin/osier')).toBe(false)
  // The identity survives until it is to go too.
  expect(root.has('/var/lib/osier/identity.key')).toBe(true)
  root.must('apt-get', 'purge', '-y', 'osier')
  expect(root.has('/var/lib/osier')).toBe(false)
}, 300_000)
