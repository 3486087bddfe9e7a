// The devices of the network: who is a member, and how it is reached.

import type { Member, Peer, Route } from '../api/types'
import { fill, texts } from '../texts'

export type Path = 'direct' | 'relayed' | 'unreachable'
export type Filter = 'all' | Path

export interface Device {
  node: string
  name: string
  address: string
  path: Path
  /** The neighbour that relays. */
  via: string | null
  /** Of the way in use, which is known for tunnels alone: one that traffic avoids says nothing about it. */
  rtt: number | null
  member: Member
  peer: Peer | null
}

/** Everyone but ourselves; reachable ones first, then by name. */
export function devicesOf(members: readonly Member[], peers: readonly Peer[]): Device[] {
  const byNode = new Map(peers.map((peer) => [peer.node, peer]))
  const devices = members
    .filter((member) => !member.own)
    .map((member): Device => {
      const peer = byNode.get(member.node) ?? null
      const path = pathOf(member, peer)
      return {
        node: member.node,
        name: member.name,
        address: member.address,
        path,
        via: peer?.via ?? null,
        rtt: path === 'direct' ? (peer?.rtt_ms ?? null) : null,
        member,
        peer,
      }
    })
  const rank: Record<Path, number> = { direct: 0, relayed: 0, unreachable: 1 }
  return devices.sort((a, b) => rank[a.path] - rank[b.path] || order.compare(a.name, b.name) || order.compare(a.node, b.node))
}

const order = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' })

function pathOf(member: Member, peer: Peer | null): Path {
  if (peer?.direct) return 'direct'
  if (peer !== null && peer.metric !== null) return 'relayed'
  return member.reachable ? 'relayed' : 'unreachable'
}

/** Those of the filter whose name or address contains every word of `search`. */
export function select(devices: readonly Device[], search: string, filter: Filter): Device[] {
  const words = search.toLowerCase().split(/\s+/).filter((word) => word !== '')
  return devices.filter((device) => {
    if (filter !== 'all' && device.path !== filter) return false
    const text = `${device.name} ${device.address}`.toLowerCase()
    return words.every((word) => text.includes(word))
  })
}

export function pathText(device: Device): string {
  switch (device.path) {
    case 'direct':
      return texts.devices.direct
    case 'relayed':
      return device.via === null ? texts.devices.relayedPlain : fill(texts.devices.relayed, { via: device.via })
    case 'unreachable':
      return texts.devices.unreachable
  }
}

/** All routes to a device; the one in use first, then by metric. */
export function routesTo(device: Device, routes: readonly Route[]): Route[] {
  const prefixes = new Set(device.member.prefixes)
  return routes
    .filter((route) => prefixes.has(route.prefix))
    .sort((a, b) => Number(b.selected) - Number(a.selected) || a.metric - b.metric)
}

export function whyText(device: Device): string {
  switch (device.path) {
    case 'direct':
      return fill(texts.device.whyDirect, { name: device.name })
    case 'relayed':
      return fill(texts.device.whyRelayed, {
        via: device.via ?? texts.app.unknown,
        metric: device.peer?.metric ?? texts.app.unknown,
      })
    case 'unreachable':
      return fill(texts.device.whyUnreachable, { name: device.name })
  }
}
