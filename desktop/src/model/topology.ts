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
  /** Null where there is no room: the table has them all. */
  label: Label | null
  /** How many a `more` stands for. */
  count: number
}

export interface Label {
  text: string
  x: number
  y: number
  anchor: 'start' | 'middle' | 'end'
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

/** More dots than these behind one neighbour become unreadable. */
const MOST_BEHIND = 8
/** The labels' letters, about; measured ones would need a page. */
const LETTER = 7
const LINE = 15
const LONGEST = 14
/** From the picture's edge. */
const EDGE = 4
export const RADIUS: Readonly<Record<Dot['kind'], number>> = { own: 15, near: 9, far: 6, lost: 6, more: 9 }

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
  const deep = branches.some((branch) => branch.children.length > 0)
  const near = deep ? 0.6 : 0.9

  const dots: Dot[] = [{ ...middle, angle: 0, kind: 'own', name: own.name, label: null, count: 1 }]
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
    dots.push({ ...place, angle, kind: branch.kind, name: branch.name, label: null, count: 1 })
    if (branch.kind === 'near') lines.push({ x1: middle.x, y1: middle.y, x2: place.x, y2: place.y, tunnel: true })
    branch.children.forEach((child, i) => {
      const angle = turned + ((i + 0.5) / branch.children.length) * share
      const end = at(angle, 1)
      dots.push({ ...end, angle, kind: child.kind, name: child.name, label: null, count: child.count })
      lines.push({ x1: place.x, y1: place.y, x2: end.x, y2: end.y, tunnel: false })
    })
    turned += share
  })
  addLabels(dots, width)
  return { dots, lines }
}

interface Box {
  left: number
  right: number
  top: number
  bottom: number
}

/** Ourselves first, then neighbours, then the others; a label that would lie over another one or a dot is left out. */
function addLabels(dots: readonly Dot[], width: number): void {
  const taken = dots.map((dot): Box => {
    const r = RADIUS[dot.kind]
    return { left: dot.x - r, right: dot.x + r, top: dot.y - r, bottom: dot.y + r }
  })
  const rank: Record<Dot['kind'], number> = { own: 0, more: 1, near: 2, far: 3, lost: 3 }
  for (const dot of [...dots].sort((a, b) => rank[a.kind] - rank[b.kind])) {
    const label = labelOf(dot, width)
    const box = boxOf(label)
    if (taken.some((other) => overlap(box, other))) continue
    dot.label = label
    taken.push(box)
  }
}

/** Outside its dot as seen from the middle, and inside the picture. */
function labelOf(dot: Dot, width: number): Label {
  const radius = RADIUS[dot.kind]
  const text = dot.kind === 'more' ? `+${dot.count}` : dot.name
  if (dot.kind === 'own') return { text: shorten(text, LONGEST), x: dot.x, y: dot.y + radius + LINE, anchor: 'middle' }
  const dx = Math.cos(dot.angle)
  const dy = Math.sin(dot.angle)
  if (Math.abs(dx) < 0.15) {
    const y = dot.y + (dy > 0 ? radius + LINE - 1 : -radius - 6)
    return { text: shorten(text, LONGEST), x: dot.x, y, anchor: 'middle' }
  }
  const x = dot.x + Math.sign(dx) * (radius + 5)
  const room = Math.floor((dx > 0 ? width - EDGE - x : x - EDGE) / LETTER)
  return { text: shorten(text, Math.min(LONGEST, room)), x, y: dot.y + 4 + dy * 6, anchor: dx > 0 ? 'start' : 'end' }
}

function boxOf({ text, x, y, anchor }: Label): Box {
  const wide = [...text].length * LETTER
  const left = anchor === 'start' ? x : anchor === 'end' ? x - wide : x - wide / 2
  return { left, right: left + wide, top: y - LINE + 4, bottom: y + 3 }
}

function overlap(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom
}

function shorten(text: string, most: number): string {
  const letters = [...text]
  return letters.length <= most ? text : `${letters.slice(0, Math.max(1, most - 1)).join('')}…`
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
