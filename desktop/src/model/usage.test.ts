import { expect, test } from 'vitest'
import type { Usage } from '../api/types'
import { csv, lastDays, total } from './usage'

const usage: Usage = {
  today: '2026-03-01',
  days: [
    { date: '2026-02-27', own: { sent: 1, received: 2 }, carried: { sent: 3, received: 4 } },
    { date: '2026-03-01', own: { sent: 10, received: 20 }, carried: { sent: 0, received: 0 } },
  ],
}

test('days without traffic are there, across the end of a month', () => {
  const days = lastDays(usage, 4)
  expect(days.map((d) => d.date)).toEqual(['2026-02-26', '2026-02-27', '2026-02-28', '2026-03-01'])
  expect(days.map((d) => total(d).own)).toEqual([0, 3, 0, 30])
})

test('a service that does not know the day gives no days', () => {
  expect(lastDays({ today: '', days: [] }, 7)).toEqual([])
})

test('what is carried counts once', () => {
  expect(total(usage.days[0]!).carried).toBe(4)
})

test('CSV has one row a day, lines ended as RFC 4180 says', () => {
  expect(csv(usage)).toBe(
    'date,own_sent_octets,own_received_octets,carried_sent_octets,carried_received_octets\r\n' +
      '2026-02-27,1,2,3,4\r\n2026-03-01,10,20,0,0\r\n',
  )
})
