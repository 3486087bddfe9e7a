import { expect, test } from 'vitest'
import type { Topology, TopologyNode } from '../api/types'
import { picture } from './topology'

function node(name: string, more: Partial<TopologyNode> = {}): TopologyNode {
  return { name, node: name, address: '', own: false, reachable: true, ...more }
}

function mesh(neighbours: number, behindEach: number): Topology {
  const near = Array.from({ length: neighbours }, (_, i) => `n${i}`)
  const far = near.flatMap((n) => Array.from({ length: behindEach }, (_, i) => ({ from: n, to: `${n}-${i}` })))
  return {
    nodes: [node('me', { own: true }), ...near.map((n) => node(n)), ...far.map((f) => node(f.to))],
    links: [
      ...near.map((to) => ({ from: 'me', to, tunnel: true, cost: 96 })),
      ...far.map((f) => ({ ...f, tunnel: false, cost: 200 })),
    ],
  }
}

test('everyone has a place of their own, inside the picture', () => {
  const { dots, lines } = picture(mesh(8, 3), 700, 440)
  expect(dots).toHaveLength(1 + 8 + 24)
  expect(lines).toHaveLength(8 + 24)
  for (const [i, a] of dots.entries()) {
    expect(a.x).toBeGreaterThan(20)
    expect(a.x).toBeLessThan(680)
    expect(a.y).toBeGreaterThan(20)
    expect(a.y).toBeLessThan(420)
    for (const b of dots.slice(i + 1)) expect(Math.hypot(a.x - b.x, a.y - b.y)).toBeGreaterThan(12)
  }
})

test('many behind one neighbour become one dot that counts them', () => {
  const { dots } = picture(mesh(25, 39), 700, 440)
  const more = dots.filter((d) => d.kind === 'more')
  expect(more).toHaveLength(25)
  expect(more.every((d) => d.count === 39)).toBe(true)
  expect(dots.length).toBeLessThan(60)
})

test('a neighbour that is also behind another one is drawn once', () => {
  const topology = mesh(2, 0)
  topology.links.push({ from: 'n0', to: 'n1', tunnel: false, cost: 300 })
  expect(picture(topology, 700, 440).dots.map((d) => d.name)).toEqual(['me', 'n0', 'n1'])
})

test('who cannot be reached stands outside, unlinked', () => {
  const topology = mesh(2, 0)
  topology.nodes.push(node('gone', { reachable: false }))
  const { dots, lines } = picture(topology, 700, 440)
  expect(dots.find((d) => d.name === 'gone')?.kind).toBe('lost')
  expect(lines).toHaveLength(2)
})

test('without ourselves there is no picture', () => {
  expect(picture({ nodes: [], links: [] }, 700, 440)).toEqual({ dots: [], lines: [] })
})

test('labels lie over nothing and are inside, however many and long the names', () => {
  for (const [width, height] of [[340, 380], [700, 440]] as const) {
    for (const topology of [mesh(8, 3), mesh(25, 39), mesh(60, 0)]) {
      const long = 'me'.repeat(100)
      for (const node of topology.nodes) if (node.own) node.name = long
      for (const link of topology.links) if (link.from === 'me') link.from = long
      const { dots } = picture(topology, width, height)
      const boxes = dots.flatMap(({ label }) => {
        if (label === null) return []
        const wide = [...label.text].length * 7
        const left = label.x - { start: 0, middle: wide / 2, end: wide }[label.anchor]
        return [{ left, right: left + wide, y: label.y }]
      })
      expect(boxes.length).toBeGreaterThan(4)
      for (const [i, a] of boxes.entries()) {
        expect(a.left).toBeGreaterThanOrEqual(0)
        expect(a.right).toBeLessThanOrEqual(width)
        for (const b of boxes.slice(i + 1)) {
          expect(a.left < b.right && b.left < a.right && Math.abs(a.y - b.y) < 13).toBe(false)
        }
      }
    }
  }
})
