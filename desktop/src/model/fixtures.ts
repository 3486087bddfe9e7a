// Answers of a service that is well, for tests to change.

import type { Service, Status } from '../api/types'
import type { Snapshot } from './state'

const network = { name: 'home', id: '00'.repeat(16), prefix: 'fd6f:7369:6572::/48' }
const certificate = { serial: 7, not_before: 1_700_000_000, not_after: 1_702_592_000, seconds_left: 20 * 86_400 }

export const service: Service = {
  version: '0.1.0',
  api_version: 2,
  pid: 77,
  uptime_seconds: 3600,
  managed: true,
  state: 'running',
  on: true,
  member: { name: 'berlin', address: 'fd6f:7369:6572:1::1', network, certificate },
  problem: null,
}

export const status: Status = {
  version: '0.1.0',
  api_version: 2,
  state: 'running',
  uptime_seconds: 3600,
  name: 'berlin',
  node: 'aa'.repeat(32),
  address: 'fd6f:7369:6572:1::1',
  prefixes: ['fd6f:7369:6572:1::/64'],
  network,
  certificate,
  interface: 'osier0',
  mtu: 1420,
  udp_port: 6690,
  endpoints: [],
  mapped: null,
  registry: { urls: ['https://registry.example:6690'], reachable: true, last_contact: 1_700_000_000, last_error: null },
  neighbours: 8,
  members: 12,
  routes: 12,
  sessions: 1,
  sent_octets: 1_000_000,
  received_octets: 2_000_000,
  connection: {
    state: 'connected',
    verified_at: 1_700_000_000,
    verified_seconds: 12,
    verified_with: 'paris',
    evidence: 'echo',
    neighbours: 8,
    wanted: 10,
    direct: 8,
    relayed: 3,
    through_relays: false,
    udp: { state: 'works', why: 'an answer has come', unanswered: 0 },
    local_addresses: 2,
  },
  health: [],
}

export const well: Snapshot = { service, status, failure: null, at: 0 }
