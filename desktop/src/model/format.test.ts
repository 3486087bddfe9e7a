import { expect, test } from 'vitest'
import { ago, duration, milliseconds, octets, sentence } from './format'
import { Pings } from './pings'

test('octets have three digits and decimal units', () => {
  expect([0, 999, 999.6, 1000, 1_234_567, 99_950_000, 1.5e9, 2e15].map(octets)).toEqual([
    '0 B',
    '999 B',
    '1.00 kB',
    '1.00 kB',
    '1.23 MB',
    '100 MB',
    '1.50 GB',
    '2000 TB',
  ])
})

test('durations are rounded down to their largest unit', () => {
  expect([0, 1, 59.9, 60, 3599, 3600, 90_000, -5].map(duration)).toEqual([
    '0 seconds',
    '1 second',
    '59 seconds',
    '1 minute',
    '59 minutes',
    '1 hour',
    '1 day',
    '0 seconds',
  ])
  expect(ago(null)).toBe('never')
  expect(ago(120)).toBe('2 minutes ago')
})

test('round trips have the digits that matter', () => {
  expect([0.412, 12.34, 250.6].map(milliseconds)).toEqual(['0.41', '12.3', '251'])
})

test('sentences begin like sentences, whatever the script', () => {
  expect(sentence('no neighbour answers')).toBe('No neighbour answers')
  expect(sentence('')).toBe('')
})

test('the live ping counts what is lost and forgets what is old', () => {
  const pings = new Pings()
  const reply = (rtt_ms: number, outcome: 'echo' | 'unreachable' = 'echo') =>
    pings.take({ line: 'reply', sequence: 0, from: '', from_name: null, outcome, rtt_ms })
  pings.take({ line: 'started', address: '', name: null })
  reply(10)
  reply(20)
  pings.take({ line: 'lost', sequence: 2 })
  reply(1, 'unreachable')
  expect([pings.sent, pings.received, pings.min, pings.mean, pings.max]).toEqual([4, 2, 10, 15, 20])
  expect(pings.recent).toEqual([10, 20, null, null])
  for (let i = 0; i < 100; i++) reply(5)
  expect(pings.recent).toHaveLength(Pings.KEPT)
})
