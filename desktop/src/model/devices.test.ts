import { describe, expect, test } from 'vitest'
import type { Member, Peer, Route } from '../api/types'
import { devicesOf, pathText, routesTo, select, whyText } from './devices'

function member(name: string, more: Partial<Member> = {}): Member {
  return {
    name,
    node: name.padEnd(64, '0'),
    address: `fd00::${name.length}`,
    prefixes: [`fd00:${name.length}::/64`],
    own: false,
    reachable: true,
    endpoints: [],
    leaf: false,
    relay: true,
    not_after: 0,
    ...more,
  }
}

function peer(name: string, more: Partial<Peer> = {}): Peer {
  return {
    name,
    node: name.padEnd(64, '0'),
    address: '',
    neighbour: true,
    direct: true,
    via: null,
    outgoing: true,
    endpoint: null,
    rtt_ms: 12,
    cost: 96,
    metric: 96,
    mtu: 1420,
    sent_octets: 0,
    received_octets: 0,
    last_handshake_seconds: null,
    cipher: null,
    ...more,
  }
}

const members = [
  member('me', { own: true }),
  member('node10'),
  member('node9'),
  member('gone', { reachable: false }),
  member('far'),
]
const peers = [peer('node10'), peer('node9', { rtt_ms: null }), peer('far', { direct: false, via: 'node9', metric: 300, rtt_ms: null })]

describe('devices', () => {
  const devices = devicesOf(members, peers)

  test('are all but ourselves; numbers in names count, and those out of reach come last', () => {
    expect(devices.map((d) => d.name)).toEqual(['far', 'node9', 'node10', 'gone'])
    expect(devices.map((d) => d.path)).toEqual(['relayed', 'direct', 'direct', 'unreachable'])
  })

  test('a tunnel that traffic does not use is no direct path', () => {
    const [device] = devicesOf([member('a')], [peer('a', { direct: false, via: 'b' })])
    expect(device?.path).toBe('relayed')
    expect(device?.rtt).toBeNull()
    expect(pathText(device!)).toBe('Relayed by b')
    expect(whyText(device!)).toBe('Traffic goes through b: that way has the lowest metric (96).')
  })

  test('a peer without a route is unreachable unless the members say otherwise', () => {
    const lost = peer('a', { direct: false, metric: null })
    expect(devicesOf([member('a', { reachable: false })], [lost])[0]?.path).toBe('unreachable')
    expect(pathText(devicesOf([member('a')], [])[0]!)).toBe('Relayed')
  })

  test('are found by every word of the search, in name or address', () => {
    expect(select(devices, 'NODE', 'all').map((d) => d.name)).toEqual(['node9', 'node10'])
    expect(select(devices, 'node fd00::6', 'all').map((d) => d.name)).toEqual(['node10'])
    expect(select(devices, '', 'unreachable').map((d) => d.name)).toEqual(['gone'])
    expect(select(devices, 'node9', 'relayed')).toEqual([])
  })

  test('routes: the one in use first, then by metric, of this device only', () => {
    const route = (via: string, metric: number, selected: boolean, prefix = 'fd00:3::/64'): Route => ({
      prefix,
      origin: 'far',
      router_id: '',
      via,
      metric,
      seqno: 1,
      feasible: true,
      selected,
      state: '',
      why: '',
    })
    const routes = [route('a', 500, false), route('b', 200, false), route('c', 400, true), route('d', 1, true, 'fd00:4::/64')]
    expect(routesTo(devices[0]!, routes).map((r) => r.via)).toEqual(['c', 'b', 'a'])
  })
})
