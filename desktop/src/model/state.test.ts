import { describe, expect, test } from 'vitest'
import type { Connection, Failure, Health, Service, Status } from '../api/types'
import { service, status, well } from './fixtures'
import { type Face, type Snapshot, type StateKind, nothingYet, stateOf } from './state'
import table from './states.json'

function serviceWith(change: Partial<Service>): Snapshot {
  return { ...well, service: { ...service, ...change }, status: null }
}

function statusWith(change: Partial<Status>): Snapshot {
  return { ...well, status: { ...status, ...change } }
}

function connectionWith(change: Partial<Connection>, more: Partial<Status> = {}): Snapshot {
  return statusWith({ ...more, connection: { ...status.connection, ...change } })
}

function failed(kind: Failure['kind'], more: Partial<Failure> = {}): Snapshot {
  return { ...well, failure: { kind, message: 'so it says', ...more } }
}

function healthWith(code: string): Health[] {
  return [{ severity: 'warning', code, text: 'text', fix: 'fix' }]
}

function leftWith(seconds: number): Status['certificate'] {
  return { ...status.certificate, seconds_left: seconds }
}

const silent: Partial<Connection> = { state: 'looking', verified_seconds: 75, neighbours: 2 }

describe('every state has its line', () => {
  const cases: [StateKind, string, Snapshot][] = [
    ['loading', 'Asking the service…', nothingYet],
    ['service-not-running', 'Service not running', failed('not-running')],
    ['no-permission', 'No permission to use the service', failed('no-permission')],
    ['other-version', 'The service is of another version', failed('nonsense')],
    ['other-version', 'The service is of another version', failed('refused', { code: 'not-found' })],
    ['other-version', 'The service is of another version', serviceWith({ api_version: 1 })],
    ['not-answering', 'The service does not answer', failed('timeout')],
    ['not-answering', 'The service does not answer', failed('broken')],
    ['not-joined', 'Not in a network yet', serviceWith({ state: 'not-joined', on: true, member: null })],
    ['joining', 'Joining…', serviceWith({ state: 'joining', member: null })],
    ['off', 'Off', serviceWith({ state: 'off', on: false })],
    ['stopping', 'Stopping…', serviceWith({ state: 'stopping', on: false })],
    ['stopping', 'Stopping…', statusWith({ state: 'stopping' })],
    ['starting', 'Starting…', serviceWith({ state: 'starting' })],
    ['starting', 'Starting…', connectionWith({ ...silent, state: 'starting', verified_seconds: null })],
    ['failed', 'The node could not start', serviceWith({ state: 'failed' })],
    ['looking', 'Looking for neighbours (2 of 10)…', connectionWith(silent)],
    ['connected', 'Connected, 8 neighbours', well],
    ['connected', 'Connected, 1 neighbour', connectionWith({ neighbours: 1 })],
    ['relayed', 'Connected through relays', connectionWith({ state: 'relayed' })],
    ['udp-blocked', 'Limited: UDP is blocked here', connectionWith({ ...silent, state: 'limited' })],
    ['offline', 'Offline, waiting for a network', connectionWith({ ...silent, state: 'offline' })],
    ['alone', 'No other device is known yet', connectionWith({ ...silent, state: 'alone', verified_seconds: null })],
    [
      'registry-unreachable',
      'Registry unreachable, working from saved settings',
      statusWith({ health: healthWith('registry-unreachable') }),
    ],
    [
      'certificate-expires',
      'Certificate expires in 6 days',
      statusWith({ health: healthWith('certificate-expiring'), certificate: leftWith(6.5 * 86_400) }),
    ],
    [
      'certificate-expires',
      'Certificate expires in 1 day',
      statusWith({ health: healthWith('certificate-expiring'), certificate: leftWith(1.5 * 86_400) }),
    ],
    [
      'certificate-expires',
      'Certificate expires today',
      statusWith({ health: healthWith('certificate-expiring'), certificate: leftWith(3600) }),
    ],
    ['certificate-expired', 'Certificate expired', statusWith({ certificate: leftWith(-5) })],
    ['revoked', 'Revoked', connectionWith({ state: 'excluded' })],
    ['revoked', 'Revoked', statusWith({ health: healthWith('excluded') })],
  ]
  test.each(cases)('%s: %s', (kind, line, snapshot) => {
    const state = stateOf(snapshot, 0)
    expect(state.kind).toBe(kind)
    expect(state.line).toBe(line)
    expect(state.detail).not.toMatch(/[{}]/)
  })
})

describe('never connected without a round trip in the last minute', () => {
  const connected = (snapshot: Snapshot, now = 0) => stateOf(snapshot, now).line.startsWith('Connected')

  test('an answer ages while the service is silent', () => {
    expect(connected(connectionWith({ verified_seconds: 59 }))).toBe(true)
    expect(connected(connectionWith({ verified_seconds: 59 }), 2_000)).toBe(false)
    expect(connected(connectionWith({ state: 'relayed', verified_seconds: 59 }), 2_000)).toBe(false)
  })

  test('a service that says connected without evidence is not believed', () => {
    expect(connected(connectionWith({ verified_seconds: null }))).toBe(false)
    expect(connected(connectionWith({ verified_seconds: 61 }))).toBe(false)
    expect(connected(connectionWith({ neighbours: 0 }))).toBe(false)
  })

  test('nothing is connected when the service has gone', () => {
    for (const kind of ['not-running', 'timeout', 'broken', 'nonsense', 'no-permission'] as const) {
      expect(connected(failed(kind))).toBe(false)
    }
  })

  test('an old answer says nothing', () => {
    expect(stateOf(well, 31_000).kind).toBe('not-answering')
  })

  // Every combination of what the service may claim: the word needs the evidence.
  test('in no combination', () => {
    const states = ['excluded', 'connected', 'relayed', 'offline', 'limited', 'alone', 'starting', 'looking', 'unknown'] as const
    const codes = ['', 'registry-unreachable', 'certificate-expiring', 'no-neighbours']
    for (const state of states)
      for (const verified_seconds of [null, 0, 30, 60, 61, 600])
        for (const code of codes)
          for (const age of [0, 5_000, 29_000]) {
            const health = code === '' ? [] : healthWith(code)
            const snapshot = connectionWith({ state, verified_seconds }, { health })
            const fresh = verified_seconds !== null && verified_seconds + age / 1000 <= 60
            const { face } = stateOf(snapshot, age)
            if (connected(snapshot, age) || face === 'connected') {
              expect(fresh && (state === 'connected' || state === 'relayed')).toBe(true)
            }
          }
  })
})

describe('the switch', () => {
  test('shows what is remembered, not what is achieved', () => {
    expect(stateOf(connectionWith(silent), 0).on).toBe(true)
    expect(stateOf(serviceWith({ state: 'off', on: false }), 0).on).toBe(false)
    expect(stateOf(serviceWith({ state: 'failed', on: true }), 0).on).toBe(true)
  })

  test('is not there when nobody could obey it', () => {
    expect(stateOf(failed('not-running'), 0).on).toBeNull()
    expect(stateOf(serviceWith({ state: 'not-joined' }), 0).on).toBeNull()
  })
})

test('the graver thing is told', () => {
  const health = [...healthWith('registry-unreachable'), ...healthWith('certificate-expiring')]
  expect(stateOf(statusWith({ health, certificate: leftWith(86_400 * 3) }), 0).kind).toBe('certificate-expires')
  expect(stateOf(connectionWith({ state: 'excluded' }, { certificate: leftWith(-1) }), 0).kind).toBe('certificate-expired')
  const lost = connectionWith({ ...silent, state: 'offline' }, { health: healthWith('registry-unreachable') })
  expect(stateOf(lost, 0).kind).toBe('offline')
})

test('unknown states of a newer service are no connection', () => {
  expect(stateOf(connectionWith({ state: 'unknown', verified_seconds: 3 }), 0).kind).toBe('looking')
  expect(stateOf(serviceWith({ state: 'unknown' }), 0).kind).toBe('starting')
})

// The phones' apps follow the same table (mobile-bindings/tests/state.rs).
interface Row {
  service?: Service['state']
  on?: boolean
  connection?: Partial<Connection>
  health?: string[]
  certificate_seconds_left?: number
  stopping?: boolean
  age_ms?: number
  expect: { kind: StateKind; face: Face; on: boolean | null }
}

test.each(table as Row[])('the table of states: $expect.kind, $connection', (row) => {
  const told: Status = {
    ...status,
    state: row.stopping === true ? 'stopping' : 'running',
    connection: { ...status.connection, ...row.connection },
    health: (row.health ?? []).flatMap(healthWith),
    certificate: leftWith(row.certificate_seconds_left ?? status.certificate.seconds_left),
  }
  const snapshot: Snapshot = {
    ...well,
    service: { ...service, state: row.service ?? 'running', on: row.on ?? true },
    status: row.connection === undefined ? null : told,
  }
  const { kind, face, on } = stateOf(snapshot, row.age_ms ?? 0)
  expect({ kind, face, on }).toEqual(row.expect)
})
