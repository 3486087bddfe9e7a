import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { choose, counted, fill } from '.'
import { en } from './en'

test('placeholders are filled; one without a value is left to be seen', () => {
  expect(fill('{a} and {b}', { a: 1 })).toBe('1 and {b}')
})

test('counted texts have the form of their number', () => {
  expect(counted(en.state.connected, 1)).toBe('Connected, 1 neighbour')
  expect(counted(en.state.connected, 8)).toBe('Connected, 8 neighbours')
  expect(counted(en.state.certificateExpires, 0)).toBe('Certificate expires today')
})

test('a language without a catalogue gets English', () => {
  expect(choose(['xx', 'en-GB'])).toBe('en')
  expect(choose([])).toBe('en')
})

// Every text is used, so that nobody translates what nobody sees. Those under `phone` are the phones' own, which have them
// by mobile-bindings/texts.
test('the catalogue has no texts that are not used', () => {
  const source = sources(join(__dirname, '..')).map((path) => readFileSync(path, 'utf8')).join('\n')
  const ours = leaves(en).filter((path) => !path.startsWith('phone.'))
  const unused = ours.filter((path) => {
    const keys = path.split('.')
    const last = keys.at(-1) as string
    const parent = keys.at(-2) as string
    return !new RegExp(`\\.${last}\\b`).test(source) && !new RegExp(`\\.${parent}\\[`).test(source) && !source.includes(`t.${parent} as`)
  })
  expect(unused).toEqual([])
})

function leaves(value: object, prefix = ''): string[] {
  return Object.entries(value).flatMap(([key, inner]) => {
    if (typeof inner === 'string' || 'other' in inner) return [prefix + key]
    return leaves(inner as object, `${prefix}${key}.`)
  })
}

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return sources(path)
    return entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts') && entry.name !== 'en.ts' ? [path] : []
  })
}
