// Where to draw whom: ourselves in the middle, neighbours around, and behind each neighbour those it leads to.

import type { Topology, TopologyNode } from '../api/types'

export interface Dot {
  x: number
  y: number
  /** Direction from the middle, for the label. */
  angle: number
  /** `own`, `near` (a tunnel of ours), `far` (behind one), `lost`, or `more` (several that have no room). */
  kind: 'own' | 'near' | 'far' | 'lost' | 'more'
  name: string
  labelled: boolean
  /** How many a `more` stands for. */
  count: number
}

export interface Line {
  x1: number
  y1: number
  x2: number
  y2: number
  tunnel: boolean
}

export interface Picture {
  dots: Dot[]
  lines: Line[]
}

/** More dots than these behind one neighbour, or labels in all, become unreadable. */
const MOST_BEHIND = 8
const MOST_LABELS = 40

interface Branch {
  name: string
  kind: Dot['kind']
  children: { name: string; kind: Dot['kind']; count: number }[]
}

export function picture(topology: Topology, width: number, height: number): Picture {
  const own = topology.nodes.find((node) => node.own)
  if (own === undefined) return { dots: [], lines: [] }
  const branches = branchesOf(topology, own)
  const middle = { x: width / 2, y: height / 2 }
  // Room for labels at the sides.
  const outer = { x: Math.max(60, width / 2 - 88), y: Math.max(60, height / 2 - 34) }
  const weights = branches.map((branch) => Math.max(1, branch.children.length))
  const sum = weights.reduce((a, b) => a + b, 0)
  const labelled = sum <= MOST_LABELS
  const deep = branches.some((branch) => branch.children.length > 0)
  const near = deep ? 0.6 : 0.9

  const dots: Dot[] = [{ ...middle, angle: 0, kind: 'own', name: own.name, labelled: true, count: 1 }]
  const lines: Line[] = []
  const at = (angle: number, reach: number) => ({
    x: middle.x + Math.cos(angle) * outer.x * reach,
    y: middle.y + Math.sin(angle) * outer.y * reach,
  })
  let turned = -Math.PI / 2
  branches.forEach((branch, index) => {
    const share = ((weights[index] ?? 1) / Math.max(sum, 1)) * 2 * Math.PI
    const angle = turned + share / 2
    // Those that nobody leads to stand outside, unlinked.
    const place = at(angle, branch.kind === 'lost' ? 1 : near)
    dots.push({ ...place, angle, kind: branch.kind, name: branch.name, labelled, count: 1 })
    if (branch.kind === 'near') lines.push({ x1: middle.x, y1: middle.y, x2: place.x, y2: place.y, tunnel: true })
    branch.children.forEach((child, i) => {
      const angle = turned + ((i + 0.5) / branch.children.length) * share
      const end = at(angle, 1)
      dots.push({ ...end, angle, kind: child.kind, name: child.name, labelled: labelled || child.kind === 'more', count: child.count })
      lines.push({ x1: place.x, y1: place.y, x2: end.x, y2: end.y, tunnel: false })
    })
    turned += share
  })
  return { dots, lines }
}

function branchesOf(topology: Topology, own: TopologyNode): Branch[] {
  const behind = new Map<string, string[]>()
  for (const link of topology.links) {
    if (link.tunnel) continue
    behind.set(link.from, [...(behind.get(link.from) ?? []), link.to])
  }
  const near = [...new Set(topology.links.filter((link) => link.tunnel).map((l) => (l.from === own.name ? l.to : l.from)))]
  const neighbours = new Set(near)
  const branches = near.map((name): Branch => {
    const names = (behind.get(name) ?? []).filter((n) => !neighbours.has(n))
    const fits = names.length <= MOST_BEHIND
    const children = fits
      ? names.map((n) => ({ name: n, kind: 'far' as const, count: 1 }))
      : [{ name, kind: 'more' as const, count: names.length }]
    return { name, kind: 'near', children }
  })
  const lost = topology.nodes.filter((node) => !node.own && !node.reachable)
  if (lost.length <= MOST_BEHIND) {
    branches.push(...lost.map((node): Branch => ({ name: node.name, kind: 'lost', children: [] })))
  }
  return branches
}
