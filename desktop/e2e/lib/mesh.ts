// A real network, on the loopback address unless told otherwise: a registry, nodes, and a service that belongs to nothing yet.

import { spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Running, until } from './process'
import { program } from './stage'

export class Mesh {
  private readonly folder = mkdtempSync(join(tmpdir(), 'osier-mesh-'))
  private readonly ports = new Map<string, number>()
  private readonly started: Running[] = []
  private url = ''

  private constructor(private readonly address: string) {}

  static async open(address = '127.0.0.1'): Promise<Mesh> {
    const mesh = new Mesh(address)
    try {
      mesh.osier(['network', 'create', mesh.place('network'), '--name', 'test'])
      const registry = mesh.start(['registry', 'serve', '--json', '--dir', mesh.place('network'), '--listen', `${address}:0`])
      const ready = JSON.parse(await registry.line(/^\{.*"ready"/)) as { address: string }
      mesh.url = `http://${ready.address}`
    } catch (error) {
      await mesh.close()
      throw error
    }
    return mesh
  }

  invite(): string {
    const said = this.osier(['invite', '--dir', this.place('network'), '--url', this.url, '--json'])
    return (JSON.parse(said) as { invite: string }).invite
  }

  /** A node that has joined and runs; with a device, if wanted. */
  async node(name: string, { tun = false } = {}): Promise<void> {
    this.osier(['join', '-', '--name', name, '--state-dir', this.place(name)], this.invite())
    await this.up(name, tun ? [] : ['--no-tun'])
  }

  /** A service that waits for its invite; the answer is its socket. */
  async service(name: string): Promise<string> {
    await this.up(name, ['--no-tun', '--service'])
    return join(this.place(name), 'control.sock')
  }

  /** From now on nothing passes between these two. */
  cut(a: string, b: string): void {
    const [one, other] = [this.ports.get(a), this.ports.get(b)]
    if (one === undefined || other === undefined) throw new Error(`no port of ${a} or ${b}`)
    const rules = `table inet cut {
      chain out {
        type filter hook output priority 0;
        udp sport ${one} udp dport ${other} drop
        udp sport ${other} udp dport ${one} drop
      }
    }`
    const result = spawnSync('nft', ['-f', '-'], { input: rules, encoding: 'utf8' })
    if (result.status !== 0) throw new Error(`nft: ${result.stderr} (run the tests by \`make desktop-test\`)`)
  }

  /** What the nodes say and have logged: for a test that fails. */
  story(): string {
    const nodes = [...this.ports.keys()].map((name) => {
      const { stdout, stderr } = spawnSync(program('OSIER'), ['peers', '--state-dir', this.place(name)], { encoding: 'utf8' })
      return `${name}: ${stdout}${stderr}`
    })
    const logs = this.started.map((running) => running.output.slice(-60).join('\n'))
    return [...nodes, ...logs].join('\n---\n')
  }

  async close(): Promise<void> {
    for (const running of this.started.reverse()) await running.stop()
    spawnSync('nft', ['delete', 'table', 'inet', 'cut'])
    rmSync(this.folder, { recursive: true, force: true })
  }

  private async up(name: string, more: string[]): Promise<void> {
    const port = await freeUdpPort()
    this.ports.set(name, port)
    const endpoint = `${this.address}:${port}`
    const state = ['--state-dir', this.place(name)]
    const running = this.start(['up', '--no-upnp', '--port', String(port), '--endpoint', endpoint, ...state, ...more])
    await until(`${name} to answer`, () => {
      if (running.ended) throw new Error(running.output.slice(-3).join(' | '))
      // 4: a service that has not joined answers so.
      return [0, 4].includes(spawnSync(program('OSIER'), ['status', ...state]).status ?? -1)
    })
  }

  private place(name: string): string {
    return join(this.folder, name)
  }

  private start(args: string[]): Running {
    const running = Running.start(program('OSIER'), args)
    this.started.push(running)
    return running
  }

  private osier(args: string[], input = ''): string {
    const result = spawnSync(program('OSIER'), args, { input, encoding: 'utf8' })
    if (result.status !== 0) throw new Error(`osier ${args.join(' ')}: ${result.stderr}`)
    return result.stdout
  }
}

function freeUdpPort(): Promise<number> {
  return new Promise((resume) => {
    const socket = createSocket('udp4')
    socket.bind(0, '127.0.0.1', () => {
      const { port } = socket.address()
      socket.close(() => resume(port))
    })
  })
}
