// Usage as a table and as a file.

import type { Usage, UsageDay } from '../api/types'

export interface DayTotal {
  own: number
  carried: number
}

/** What a day's bar shows. What is carried comes in and goes out again: it counts once, as it does for its owner. */
export function total(day: UsageDay): DayTotal {
  return { own: day.own.sent + day.own.received, carried: Math.max(day.carried.sent, day.carried.received) }
}

/** The last `count` days up to today, one for each date, with zeros where nothing was counted. */
export function lastDays(usage: Usage, count: number): UsageDay[] {
  const byDate = new Map(usage.days.map((day) => [day.date, day]))
  const today = Date.parse(`${usage.today}T00:00:00Z`)
  if (Number.isNaN(today)) return []
  return Array.from({ length: count }, (_, i) => {
    const date = new Date(today - (count - 1 - i) * 86_400_000).toISOString().slice(0, 10)
    return byDate.get(date) ?? { date, own: { sent: 0, received: 0 }, carried: { sent: 0, received: 0 } }
  })
}

/** RFC 4180: octets, one row a day, with names that programs can rely on in every language. */
export function csv(usage: Usage): string {
  const header = 'date,own_sent_octets,own_received_octets,carried_sent_octets,carried_received_octets'
  const rows = usage.days.map((d) => [d.date, d.own.sent, d.own.received, d.carried.sent, d.carried.received].join(','))
  return [header, ...rows, ''].join('\r\n')
}
