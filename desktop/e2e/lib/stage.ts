// A display, a session bus, the mock service, and the app in a window driven by tauri-driver.

import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Driver } from './driver'
import { Running, freePort, until } from './process'

/** Where the programs are: `make desktop-test` says so. */
export function program(variable: string): string {
  const path = process.env[variable]
  if (!path) throw new Error(`${variable} is not set: run the tests by \`make desktop-test\``)
  return path
}

export const ARTEFACTS = process.env['OSIER_DESKTOP_ARTEFACTS'] ?? join(__dirname, '..', 'artefacts')
const NATIVE = '/usr/bin/WebKitWebDriver'

export interface Options {
  /** What the mock plays; null without one. */
  scenario: string | null
  /** The control socket of a real service, instead of the mock's. */
  service?: string
  /** Arguments of the app. */
  args?: string[]
  /** Runs the app without the right to open what is others': for tests that run as root. */
  unprivileged?: boolean
  /** Whether the desktop shows indicators. */
  tray?: boolean
  environment?: NodeJS.ProcessEnv
}

export class Stage {
  readonly folder = mkdtempSync(join(tmpdir(), 'osier-desktop-'))
  readonly home = join(this.folder, 'home')
  readonly socket = join(this.folder, 'control.sock')
  /** Programs that the app finds before the system's. */
  readonly bin = join(this.folder, 'bin')
  private readonly started: Running[] = []
  private mock: Running | null = null
  private shell: Running | null = null
  private environment: NodeJS.ProcessEnv = {}
  private window: Driver | null = null

  static async open(options: Options): Promise<Stage> {
    const stage = new Stage()
    try {
      await stage.prepare(options)
      await stage.openWindow(options)
    } catch (error) {
      await stage.close()
      throw error
    }
    return stage
  }

  get driver(): Driver {
    if (this.window === null) throw new Error('no window')
    return this.window
  }

  /** The service plays another scenario from now on. */
  async play(scenario: string): Promise<void> {
    const mock = this.mock as Running
    const before = mock.output.length
    mock.write(scenario)
    const said = await mock.line(/^(playing|failed)/, before)
    if (said !== `playing ${scenario}`) throw new Error(said)
  }

  /** Asks the panel, which knows windows and tray (see `osier-desktop-panel`). */
  async panel<T>(command: string): Promise<T> {
    const panel = this.shell as Running
    const before = panel.output.length
    panel.write(command)
    return JSON.parse(await panel.line(/./, before)) as T
  }

  /** The texts of the tray's menu; null while there is no icon. */
  async trayTexts(): Promise<string[] | null> {
    const entries = await this.panel<{ text: string }[] | null>('menu')
    return entries?.map((entry) => entry.text) ?? null
  }

  /** A program for the app to find: a shell script. */
  provide(name: string, script: string): void {
    const path = join(this.bin, name)
    writeFileSync(path, `#!/bin/sh\n${script}\n`)
    chmodSync(path, 0o755)
  }

  /** Starts the app once more, as a launcher or a link would. */
  again(...args: string[]): Running {
    return this.start(program('OSIER_DESKTOP'), args)
  }

  async close(): Promise<void> {
    await this.window?.close().catch(() => undefined)
    for (const running of this.started.reverse()) await running.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }

  private start(name: string, args: string[]): Running {
    const running = Running.start(name, args, { env: this.environment })
    this.started.push(running)
    return running
  }

  private async prepare(options: Options): Promise<void> {
    for (const folder of [this.home, this.bin, join(this.folder, 'run')]) mkdirSync(folder, { mode: 0o700 })
    const systemPath = process.env['PATH'] ?? '/usr/bin:/bin'
    this.environment = {
      PATH: `${this.bin}:${systemPath}`,
      HOME: this.home,
      USER: 'ada',
      LANG: 'C.UTF-8',
      XDG_RUNTIME_DIR: join(this.folder, 'run'),
      XDG_CONFIG_HOME: join(this.home, '.config'),
      XDG_DATA_HOME: join(this.home, '.local/share'),
      XDG_CACHE_HOME: join(this.home, '.cache'),
      OSIER_CONTROL_SOCKET: options.service ?? this.socket,
      GDK_BACKEND: 'x11',
      NO_AT_BRIDGE: '1',
      LIBGL_ALWAYS_SOFTWARE: '1',
      ...options.environment,
    }
    const display = this.start('Xvfb', ['-displayfd', '1', '-screen', '0', '1280x1000x24', '-nolisten', 'tcp'])
    this.environment['DISPLAY'] = `:${(await display.line(/^\d+$/)).trim()}`
    const bus = this.start('dbus-daemon', ['--session', '--nofork', '--print-address'])
    this.environment['DBUS_SESSION_BUS_ADDRESS'] = await bus.line(/^unix:/)
    this.shell = this.start(program('OSIER_DESKTOP_PANEL'), options.tray ? [] : ['--no-tray'])
    await this.shell.line(/^ready$/)
    if (options.scenario === null) return
    this.mock = this.start(program('OSIER_DESKTOP_MOCK'), ['--socket', this.socket, '--scenario', options.scenario])
    await this.mock.line(/^playing/)
  }

  private async openWindow(options: Options): Promise<void> {
    const [port, native] = [await freePort(), await freePort()]
    const driver = [program('TAURI_DRIVER'), '--port', String(port), '--native-port', String(native), '--native-driver', NATIVE]
    // Root without this may not open what is another's, like everyone else.
    const drop = ['setpriv', '--bounding-set', '-dac_override', '--inh-caps', '-dac_override']
    const [name, ...args] = options.unprivileged && process.getuid?.() === 0 ? [...drop, ...driver] : driver
    const running = this.start(name as string, args)
    await until('tauri-driver and the driver behind it to listen', async () => {
      if (running.ended) throw new Error(running.output.slice(-5).join(' | '))
      for (const p of [native, port]) await fetch(`http://127.0.0.1:${p}/status`)
      return true
    })
    this.window = await Driver.open(port, {
      'tauri:options': { application: program('OSIER_DESKTOP'), args: options.args ?? [] },
    })
    await until('the page', () => this.driver.run<boolean>('return document.querySelector("main") !== null'))
  }
}
