import { expect, test, vi } from 'vitest'
import { service, well } from './model/fixtures'
import { type Snapshot, nothingYet, stateOf } from './model/state'
import { trayOf } from './tray'

// The shell is not there.
vi.mock('./api/client', () => ({ api: {}, shell: {} }))

function tray(snapshot: Snapshot) {
  return trayOf({ snapshot, state: stateOf(snapshot, 0) })
}

function ids(snapshot: Snapshot) {
  return tray(snapshot).entries.map((e) => e.id ?? e.text ?? '-')
}

test('the first entry is the state line, for indicators have no tooltip', () => {
  const { face, line, entries } = tray(well)
  expect(face).toBe('connected')
  expect(line).toBe('Connected, 8 neighbours')
  expect(entries[0]).toEqual({ text: 'Connected, 8 neighbours' })
  expect(entries[1]?.text).toBe('berlin · fd6f:7369:6572:1::1')
})

test('the switch says what it will do', () => {
  const off: Snapshot = { ...well, status: null, service: { ...service, state: 'off', on: false } }
  expect(tray(well).entries.find((e) => e.id === 'switch')?.text).toBe('Turn off')
  expect(tray(off).entries.find((e) => e.id === 'switch')?.text).toBe('Turn on')
})

test('without a service there is nothing to switch, but a window to open', () => {
  const failure = { kind: 'not-running', message: '' } as const
  expect(ids({ ...nothingYet, failure })).toEqual(['Service not running', '-', 'open', 'diagnostics', '-', 'quit'])
  expect(tray({ ...nothingYet, failure }).face).toBe('attention')
})
