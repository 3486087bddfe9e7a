// Screenshots of everything, and what can be checked about a layout without eyes.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Driver } from './driver'
import { until } from './process'
import { ARTEFACTS } from './stage'

export const SIZES = { wide: [900, 640], narrow: [420, 640] } as const
export type Size = keyof typeof SIZES
export type Theme = 'light' | 'dark'

export async function useTheme(driver: Driver, theme: Theme): Promise<void> {
  await driver.run('document.documentElement.dataset.theme = arguments[0]', theme)
}

export async function useSize(driver: Driver, size: Size): Promise<void> {
  const [width, height] = SIZES[size]
  await driver.resize(width, height)
  await until(`a window of ${width} by ${height}`, () =>
    driver.run<boolean>('return innerWidth === arguments[0] && innerHeight === arguments[1]', width, height),
  )
}

export async function shoot(driver: Driver, name: string): Promise<void> {
  await settled(driver)
  mkdirSync(ARTEFACTS, { recursive: true })
  writeFileSync(join(ARTEFACTS, `${name}.png`), await driver.screenshot())
}

/** Two frames have been painted since, and no transition runs. */
function settled(driver: Driver): Promise<unknown> {
  return until('the page to be painted', async () => {
    await driver.run('window.__painted = 0; requestAnimationFrame(() => requestAnimationFrame(() => { window.__painted = 1 }))')
    return until('two frames', () => driver.run<boolean>('return window.__painted === 1 && document.getAnimations().length === 0'))
  })
}

/** Everything that is wrong with the layout as it is now; empty when all is well. */
export function flaws(driver: Driver): Promise<string[]> {
  return driver.run<string[]>(FLAWS)
}

// Runs in the page. Looks for: sideways scrolling, text that is cut although nothing says so, controls that lie over
// each other, controls too small to hit, text with too little contrast, controls and pictures without a name.
const FLAWS = String.raw`
const found = []
const visible = (e) => e.getClientRects().length > 0 && getComputedStyle(e).visibility !== 'hidden' && !e.closest('.visually-hidden, .skip')
const tell = (e) => e.tagName.toLowerCase() + (e.id ? '#' + e.id : '') + (typeof e.className === 'string' && e.className ? '.' + e.className.split(' ').join('.') : '') + ' "' + (e.textContent || '').trim().slice(0, 30) + '"'
const main = document.querySelector('main')
if (document.documentElement.scrollWidth > innerWidth) found.push('the page scrolls sideways')
if (main.scrollWidth > main.clientWidth) found.push('the screen scrolls sideways: ' + [...main.querySelectorAll('*')].filter((e) => visible(e) && e.getBoundingClientRect().right > main.getBoundingClientRect().right + 1 && !e.closest('.scroll')).slice(0, 3).map(tell).join('; '))
const all = [...document.querySelectorAll('body *')].filter(visible)
for (const e of all) {
  const style = getComputedStyle(e)
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim() !== '')
  if (own && !(e instanceof SVGElement) && e.scrollWidth > e.clientWidth + 1 && style.overflowX !== 'visible' && style.textOverflow !== 'ellipsis' && style.webkitLineClamp === 'none' && style.display !== 'inline' && !['INPUT', 'TEXTAREA'].includes(e.tagName))
    found.push('cut: ' + tell(e))
}
const controls = all.filter((e) => e.matches('button, a[href], input, textarea, summary'))
for (const e of controls) {
  const r = e.getBoundingClientRect()
  const name = e.getAttribute('aria-label') || e.textContent.trim() || (e.id && document.querySelector('label[for="' + e.id + '"]')) || e.closest('label')
  if (!name) found.push('no name: ' + tell(e))
  if (r.height < 18 || r.width < 18) found.push('too small: ' + tell(e) + ' ' + Math.round(r.width) + 'x' + Math.round(r.height))
}
const nav = new Set(document.querySelectorAll('nav a'))
for (let i = 0; i < controls.length; i++) for (let j = i + 1; j < Math.min(controls.length, i + 40); j++) {
  const [a, b] = [controls[i], controls[j]]
  if (a.contains(b) || b.contains(a) || nav.has(a) !== nav.has(b)) continue
  const [p, q] = [a.getBoundingClientRect(), b.getBoundingClientRect()]
  const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left)
  const tall = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top)
  if (wide > 2 && tall > 2) found.push('overlap: ' + tell(a) + ' and ' + tell(b))
}
for (const e of document.querySelectorAll('svg[role="img"]')) if (visible(e) && !e.getAttribute('aria-label')) found.push('picture without a name')
const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return { r: m[0], g: m[1], b: m[2], a: m[3] === undefined ? 1 : m[3] } }
const light = ({ r, g, b }) => { const f = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 }; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b) }
const behind = (e) => { for (let p = e; p; p = p.parentElement) { const c = parse(getComputedStyle(p).backgroundColor); if (c.a > 0.99) return c } return { r: 255, g: 255, b: 255 } }
for (const e of all) {
  if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim() !== '')) continue
  if (e.closest('[disabled], [aria-disabled], [aria-hidden="true"] .icon')) continue
  const style = getComputedStyle(e)
  const colour = parse(e instanceof SVGElement ? style.fill : style.color)
  const [a, b] = [light(colour), light(behind(e))].sort((x, y) => y - x)
  const ratio = (a + 0.05) / (b + 0.05)
  if (ratio < 4.5) found.push('contrast ' + ratio.toFixed(1) + ': ' + tell(e))
}
return [...new Set(found)]
`
