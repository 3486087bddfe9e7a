// From what the API answers to the one state that window and tray show. Pure: the time is an argument.
//
// The rule above all others: "Connected" is never said without a round trip that was verified within the last
// minute. The service verifies; its answer ages here too, so a service or a window that hangs cannot keep the word
// alive.

import { API_VERSION, type Failure, type Health, type Service, type Status } from '../api/types'
import { counted, fill, texts } from '../texts'
import { duration } from './format'

/** What is known at one moment. */
export interface Snapshot {
  service: Service | null
  /** Only while a node runs. */
  status: Status | null
  /** Why there is no newer answer. */
  failure: Failure | null
  /** When `service` and `status` came (milliseconds, any clock that does not jump). */
  at: number
}

export type StateKind =
  | 'loading'
  | 'service-not-running'
  | 'no-permission'
  | 'other-version'
  | 'not-answering'
  | 'not-joined'
  | 'joining'
  | 'off'
  | 'stopping'
  | 'starting'
  | 'failed'
  | 'revoked'
  | 'certificate-expired'
  | 'offline'
  | 'udp-blocked'
  | 'alone'
  | 'looking'
  | 'certificate-expires'
  | 'registry-unreachable'
  | 'relayed'
  | 'connected'

/** The five faces of the tray icon. */
export type Face = 'off' | 'connecting' | 'connected' | 'limited' | 'attention'

export interface State {
  kind: StateKind
  /** The state line. */
  line: string
  /** One or two sentences more. */
  detail: string
  face: Face
  /** Position of the switch; `null` when there is nothing to switch. */
  on: boolean | null
}

export const nothingYet: Snapshot = { service: null, status: null, failure: null, at: 0 }

/** A round trip counts this long. */
const VERIFIED_SECONDS = 60
/** An answer that is older says nothing about now. */
const STALE_MS = 30_000
const DAY = 86_400

const t = texts.state
const d = texts.stateDetail

export function stateOf(snapshot: Snapshot, now: number): State {
  return problemOf(snapshot, now) ?? serviceState(snapshot, now)
}

/** The service itself is not as it should be. */
function problemOf({ service, failure, at }: Snapshot, now: number): State | null {
  const attention = (kind: StateKind, line: string, detail: string): State => ({
    kind,
    line,
    detail,
    face: 'attention',
    on: null,
  })
  switch (failure?.kind) {
    case 'not-running':
      return attention('service-not-running', t.serviceNotRunning, d.serviceNotRunning)
    case 'no-permission':
      return attention('no-permission', t.noPermission, d.noPermission)
    case 'nonsense':
      return attention('other-version', t.otherVersion, d.otherVersion)
    case 'refused':
      // A service that does not even know `GET /v1/service`.
      if (failure.code === 'not-found') return attention('other-version', t.otherVersion, d.otherVersion)
      return attention('not-answering', t.notAnswering, failure.message)
    case 'timeout':
    case 'broken':
      return attention('not-answering', t.notAnswering, d.notAnswering)
    case undefined:
      break
  }
  if (service === null) {
    return { kind: 'loading', line: t.loading, detail: d.loading, face: 'connecting', on: null }
  }
  if (service.api_version < API_VERSION) return attention('other-version', t.otherVersion, d.otherVersion)
  if (now - at > STALE_MS) return attention('not-answering', t.notAnswering, d.notAnswering)
  return null
}

function serviceState(snapshot: Snapshot, now: number): State {
  const service = snapshot.service as Service
  const network = service.member?.network.name ?? ''
  const make = (kind: StateKind, face: Face, line: string, detail: string, on: boolean | null = service.on): State => ({
    kind,
    line,
    detail,
    face,
    on,
  })
  switch (service.state) {
    case 'not-joined':
      return make('not-joined', 'off', t.notJoined, d.notJoined, null)
    case 'joining':
      return make('joining', 'connecting', t.joining, d.joining, null)
    case 'off':
      return make('off', 'off', t.off, fill(d.off, { network }), false)
    case 'stopping':
      return make('stopping', 'connecting', t.stopping, d.stopping)
    case 'failed':
      return make('failed', 'attention', t.failed, d.failed)
    case 'starting':
    case 'unknown':
      return make('starting', 'connecting', t.starting, d.starting)
    case 'running':
      break
  }
  // Between two answers: the service runs a node whose status has not come yet.
  if (snapshot.status === null) return make('starting', 'connecting', t.starting, d.starting)
  return nodeState(snapshot.status, now - snapshot.at, service)
}

/** A node runs; `age` is how many milliseconds ago it said so. */
function nodeState(status: Status, age: number, service: Service): State {
  const { connection, certificate } = status
  const network = status.network.name
  const make = (kind: StateKind, face: Face, line: string, detail: string): State => ({
    kind,
    line,
    detail,
    face,
    on: service.on,
  })
  if (status.state === 'stopping') return make('stopping', 'connecting', t.stopping, d.stopping)

  const seconds = Math.round(age / 1000)
  const left = certificate.seconds_left - seconds
  const expired = left <= 0 || has(status.health, 'certificate-expired')
  if (expired) return make('certificate-expired', 'attention', t.certificateExpired, fill(d.certificateExpired, { network }))
  if (connection.state === 'excluded' || has(status.health, 'excluded')) {
    return make('revoked', 'attention', t.revoked, fill(d.revoked, { network }))
  }

  const verified = verifiedSeconds(status, seconds)
  const expiring = has(status.health, 'certificate-expiring')
  const days = Math.floor(left / DAY)
  if (verified === null) {
    switch (connection.state) {
      case 'offline':
        return make('offline', 'limited', t.offline, d.offline)
      case 'limited':
        return make('udp-blocked', 'limited', t.udpBlocked, d.udpBlocked)
    }
    if (expiring) {
      return make('certificate-expires', 'attention', counted(t.certificateExpires, days), d.certificateExpiresSilent)
    }
    switch (connection.state) {
      case 'alone':
        return make('alone', 'limited', t.alone, fill(d.alone, { network }))
      case 'starting':
        return make('starting', 'connecting', t.starting, d.starting)
    }
    const line = fill(t.looking, { found: connection.neighbours, wanted: connection.wanted })
    return make('looking', 'connecting', line, d.looking)
  }

  const ago = duration(verified)
  if (expiring) {
    return make('certificate-expires', 'attention', counted(t.certificateExpires, days), fill(d.certificateExpires, { ago }))
  }
  if (has(status.health, 'registry-unreachable')) {
    return make('registry-unreachable', 'limited', t.registryUnreachable, fill(d.registryUnreachable, { ago }))
  }
  const who = connection.verified_with ?? ''
  if (connection.state === 'relayed') {
    return make('relayed', 'connected', t.relayed, fill(d.relayed, { ago, who }))
  }
  return make('connected', 'connected', counted(t.connected, connection.neighbours), fill(d.connected, { ago, who }))
}

/** Seconds since the last verified round trip; `null` when that is too long ago, or was before we lost everyone. */
function verifiedSeconds({ connection }: Status, age: number): number | null {
  if (connection.state !== 'connected' && connection.state !== 'relayed') return null
  if (connection.verified_seconds === null || connection.neighbours === 0) return null
  const seconds = connection.verified_seconds + age
  return seconds <= VERIFIED_SECONDS ? seconds : null
}

function has(health: readonly Health[], code: string): boolean {
  return health.some((h) => h.code === code)
}
