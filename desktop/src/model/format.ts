// Numbers, times and octets as people read them.

import { counted, fill, texts } from '../texts'

/** `90` as "1 minute": rounded down to its largest unit. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds))
  if (s < 60) return counted(texts.ago.seconds, s)
  if (s < 3600) return counted(texts.ago.minutes, Math.floor(s / 60))
  if (s < 86_400) return counted(texts.ago.hours, Math.floor(s / 3600))
  return counted(texts.ago.days, Math.floor(s / 86_400))
}

export function ago(seconds: number | null): string {
  return seconds === null ? texts.ago.never : fill(texts.ago.ago, { time: duration(seconds) })
}

/** `1234567` as "1.23 MB": decimal units, three digits. */
export function octets(count: number): string {
  const units = [texts.units.b, texts.units.kb, texts.units.mb, texts.units.gb, texts.units.tb]
  let value = count
  let unit = 0
  // 999.5 would be written as 1000.
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit += 1
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2
  return `${value.toFixed(digits)} ${units[unit] ?? ''}`
}

export function milliseconds(ms: number): string {
  return ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0)
}

/** Unix seconds as a date of the user's place. */
export function date(unixSeconds: number): string {
  return new Date(unixSeconds * 1000).toLocaleDateString(undefined, { year: 'numeric', month: 'long', day: 'numeric' })
}

/** The service's words, as a sentence begins. */
export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
