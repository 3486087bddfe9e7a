// What the control API says (docs/control-api.md), as far as the app uses it. Fields that are not here are ignored.

/** The newest version of the API that this app knows; an older service cannot serve it. */
export const API_VERSION = 2

export type ServiceState =
  | 'not-joined'
  | 'joining'
  | 'off'
  | 'starting'
  | 'running'
  | 'stopping'
  | 'failed'
  | 'unknown'

export interface Problem {
  code: string
  text: string
  fix: string
}

export interface Network {
  name: string
  id: string
  prefix: string
}

export interface Certificate {
  serial: number
  not_before: number
  not_after: number
  seconds_left: number
}

export interface Membership {
  name: string
  address: string
  network: Network
  certificate: Certificate
}

export interface Service {
  version: string
  api_version: number
  pid: number
  uptime_seconds: number
  managed: boolean
  state: ServiceState
  on: boolean
  member: Membership | null
  problem: Problem | null
  /** The network whose registry this service runs. */
  hosting?: { network: string; serving: boolean } | null
}

/** A secret until it is used. */
export interface NewInvite {
  invite: string
  expires: number
  registries: string[]
  /** Its QR code: a row of modules each, `1` for a dark one. */
  qr: string[]
}

export type ConnectionState =
  | 'excluded'
  | 'connected'
  | 'relayed'
  | 'offline'
  | 'limited'
  | 'alone'
  | 'starting'
  | 'looking'
  | 'unknown'

export interface Connection {
  state: ConnectionState
  verified_at: number | null
  verified_seconds: number | null
  verified_with: string | null
  evidence: 'echo' | 'handshake' | null
  neighbours: number
  wanted: number
  direct: number
  relayed: number
  through_relays: boolean
  udp: { state: 'unknown' | 'works' | 'seems-blocked'; why: string; unanswered: number }
  local_addresses: number
}

export type Severity = 'error' | 'warning' | 'info'

export interface Health {
  severity: Severity
  code: string
  text: string
  fix: string
}

export interface Endpoint {
  address: string
  kind: string
}

export interface Status {
  version: string
  api_version: number
  state: 'running' | 'stopping'
  uptime_seconds: number
  name: string
  node: string
  address: string
  prefixes: string[]
  network: Network
  certificate: Certificate
  interface: string | null
  mtu: number | null
  udp_port: number
  endpoints: Endpoint[]
  mapped: string | null
  registry: { urls: string[]; reachable: boolean | null; last_contact: number | null; last_error: string | null }
  neighbours: number
  members: number
  routes: number
  sessions: number
  sent_octets: number
  received_octets: number
  connection: Connection
  health: Health[]
}

export interface Peer {
  name: string
  node: string
  address: string
  neighbour: boolean
  direct: boolean
  via: string | null
  outgoing: boolean | null
  endpoint: string | null
  rtt_ms: number | null
  cost: number | null
  metric: number | null
  mtu: number | null
  sent_octets: number
  received_octets: number
  last_handshake_seconds: number | null
  cipher: string | null
}

export interface Member {
  name: string
  node: string
  address: string
  prefixes: string[]
  own: boolean
  reachable: boolean
  endpoints: Endpoint[]
  leaf: boolean
  relay: boolean
  not_after: number
}

export interface Route {
  prefix: string
  origin: string | null
  router_id: string
  via: string | null
  metric: number
  seqno: number
  feasible: boolean
  selected: boolean
  state: string
  why: string
}

export interface TopologyNode {
  name: string
  node: string
  address: string
  own: boolean
  reachable: boolean
}

export interface TopologyLink {
  from: string
  to: string
  tunnel: boolean
  cost: number | null
}

export interface Topology {
  nodes: TopologyNode[]
  links: TopologyLink[]
}

export interface Octets {
  sent: number
  received: number
}

export interface UsageDay {
  date: string
  own: Octets
  carried: Octets
}

export interface Usage {
  today: string
  days: UsageDay[]
}

export interface Check {
  name: string
  verdict: 'ok' | 'warning' | 'error'
  seen: string
  fix: string | null
}

export interface Diagnostics {
  checks: Check[]
}

export type ProbeLine =
  | { line: 'started'; address: string; name: string | null }
  | {
      line: 'reply'
      sequence: number
      from: string
      from_name: string | null
      outcome: 'echo' | 'time-exceeded' | 'unreachable'
      rtt_ms: number
    }
  | { line: 'lost'; sequence: number }
  | {
      line: 'summary'
      sent: number
      received: number
      min_ms: number | null
      mean_ms: number | null
      max_ms: number | null
    }

export type TraceLine =
  | { line: 'started'; address: string; name: string | null }
  | { line: 'hop'; hop: number; from: string | null; name: string | null; outcome: string | null; rtt_ms: number | null }
  | { line: 'done'; reached: boolean }

export type JoinLine =
  | { line: 'asking'; registries: string[] }
  | { line: 'joined'; member: Membership; already_member: boolean }
  | { line: 'done'; service: Service }
  | { line: 'failed'; code: string; message: string; fix: string | null }
  | { line: 'unknown' }

/** Why the service did not answer as it should; what the shell makes of the client's errors. */
export interface Failure {
  kind: 'not-running' | 'no-permission' | 'refused' | 'timeout' | 'broken' | 'nonsense'
  message: string
  /** Of a refusal. */
  code?: string | null
  fix?: string | null
}
