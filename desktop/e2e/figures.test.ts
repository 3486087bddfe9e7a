// What the app costs with a thousand devices: printed, kept beside the screenshots, and bounded far above what it is.

import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { until } from './lib/process'
import { ARTEFACTS, Stage } from './lib/stage'

const MEMORY_MB = 1_000
const SCREEN_MS = 10_000
const RUNS = 5
/** The app and its web view, by the first 15 letters that the kernel keeps. */
const PROGRAMS = new Set(['osier-desktop', 'WebKitWebProces', 'WebKitNetworkPr'])

// Runs in the page: from the click until the screen's last part is there and has been painted.
const CLICK = `
  window.__took = null
  const [place, selector, count] = arguments
  const began = performance.now()
  document.querySelector('nav a[href="#' + place + '"]').click()
  const look = () => {
    const there = [...document.querySelectorAll(selector)].filter((e) => e.getClientRects().length > 0).length >= count
    if (there) requestAnimationFrame(() => { window.__took = performance.now() - began })
    else requestAnimationFrame(look)
  }
  look()`

test('from the click to the screen, and memory', async () => {
  const few = await played('connected', async (stage) => {
    await stage.driver.sees('.state-text', 'Connected, 8 neighbours')
    return memory(stage)
  })
  const [took, many] = await played('thousand', async (stage) => [await clicks(stage), memory(stage)])
  const figures = {
    memory_mb: many,
    memory_with_few_devices_mb: few,
    click_to_screen_ms: Object.fromEntries(
      Object.entries(took).map(([place, all]) => [place, { first: all[0], median: median(all) }]),
    ),
  }
  console.log(JSON.stringify(figures, null, 2))
  mkdirSync(ARTEFACTS, { recursive: true })
  writeFileSync(join(ARTEFACTS, 'figures.json'), JSON.stringify(figures, null, 2))
  expect(many).toBeLessThan(MEMORY_MB)
  for (const [place, all] of Object.entries(took)) expect(Math.max(...all), place).toBeLessThan(SCREEN_MS)
})

async function played<T>(scenario: string, measure: (stage: Stage) => Promise<T>): Promise<T> {
  const stage = await Stage.open({ scenario })
  try {
    return await measure(stage)
  } finally {
    await stage.close()
  }
}

function median(all: number[]): number {
  return [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)] as number
}

/** Milliseconds from the click to each screen. */
async function clicks({ driver }: Stage): Promise<Record<string, number[]>> {
  await driver.sees('.state-text', 'Connected, 25 neighbours')
  const screens: [place: string, selector: string, count: number][] = [
    ['devices', '.devices li', 1000],
    ['topology', '.drawing .node', 50],
    ['usage', '.usage tbody tr', 14],
    ['diagnostics', '.checks li', 15],
    ['settings', '.settings .facts dd', 3],
    ['home', '.big-line', 1],
  ]
  const took: Record<string, number[]> = {}
  for (let run = 0; run < RUNS; run++) {
    for (const [place, selector, count] of screens) {
      await driver.run(CLICK, place, selector, count)
      const ms = await until(place, () => driver.run<number | null>('return window.__took'))
      took[place] = [...(took[place] ?? []), Math.round(ms)]
    }
  }
  return took
}

/** MB of the app's processes, which have our socket in their environment. */
function memory(stage: Stage): number {
  let sum = 0
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const ours = readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`OSIER_CONTROL_SOCKET=${stage.socket}`)
      const program = readFileSync(`/proc/${pid}/comm`, 'utf8').trim()
      if (!ours || !PROGRAMS.has(program)) continue
      sum += Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0)
    } catch {
      // It has just ended.
    }
  }
  return Math.round(sum / 1000)
}
