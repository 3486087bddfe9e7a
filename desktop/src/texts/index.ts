// Looks texts up and fills their placeholders. The language is the first of the user's that has a catalogue.

import { en } from './en'

/** One form per plural category of the language; `zero`, where it is given, is for exactly 0 in every language. */
export type Counted = { readonly [category in Intl.LDMLPluralRule]?: string } & { readonly other: string }
export type Values = Readonly<Record<string, string | number>>

type Widen<T> = T extends string ? string : { readonly [K in keyof T]: Widen<T[K]> }
export type Catalogue = Widen<typeof en>

const catalogues: Readonly<Record<string, Catalogue>> = { en }

export function choose(languages: readonly string[]): string {
  const known = languages.map((l) => l.toLowerCase().split('-')[0] ?? '').find((l) => l in catalogues)
  return known ?? 'en'
}

export const language = choose(typeof navigator === 'undefined' ? [] : navigator.languages)
export const texts: Catalogue = catalogues[language] ?? en
const plurals = new Intl.PluralRules(language)

/** `text` with its `{placeholders}` filled; one that has no value stays as it is, so that it is noticed. */
export function fill(text: string, values: Values = {}): string {
  return text.replace(/\{(\w+)\}/g, (whole, key: string) => (key in values ? String(values[key]) : whole))
}

/** The form for `count`, which also fills `{count}`. */
export function counted(forms: Counted, count: number, values: Values = {}): string {
  const form = (count === 0 ? forms.zero : undefined) ?? forms[plurals.select(count)] ?? forms.other
  return fill(form, { count, ...values })
}
