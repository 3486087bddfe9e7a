// A clean Debian that is booted for one test, with what the test changed thrown away afterwards.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Running, until } from './process'
import { program } from './stage'

const BOOT = join(__dirname, '..', 'root', 'boot')

export interface Outcome {
  status: number
  output: string
}

export class Root {
  private constructor(
    private readonly folder: string,
    private readonly cgroup: string,
    private readonly running: Running,
    /** systemd's, outside. */
    readonly pid: number,
  ) {}

  static async boot(): Promise<Root> {
    const folder = mkdtempSync(join(tmpdir(), 'osier-root-'))
    // In memory: an overlay cannot lie on every file system, and what is changed goes with it.
    sh('mount', '-t', 'tmpfs', 'tmpfs', folder)
    const cgroup = cgroupOf(`osier-root-${process.pid}`)
    mkdirSync(cgroup)
    // The shell enters the group, so that it is the root of the group namespace.
    const enter = `echo $$ > ${cgroup}/cgroup.procs && exec unshare --pid --fork --kill-child --mount --net --uts --ipc --cgroup "$0" "$@"`
    const running = Running.start('sh', ['-c', enter, BOOT, program('OSIER_DESKTOP_ROOT'), folder])
    try {
      const pid = await until('a first process', () => {
        if (running.ended) throw new Error(running.output.join(' | '))
        const children = readFileSync(`/proc/${running.pid}/task/${running.pid}/children`, 'utf8').trim()
        return /^\d+$/.test(children) ? Number(children) : null
      })
      const root = new Root(folder, cgroup, running, pid)
      await until('the root to be booted', () => {
        const { output } = root.run('systemctl', 'is-system-running')
        if (!/^(running|degraded)/.test(output)) throw new Error(output)
        return true
      })
      return root
    } catch (error) {
      await running.stop()
      throw error
    }
  }

  /** Runs a program in the root, as its root. */
  run(...command: string[]): Outcome {
    return this.enter([], command, '')
  }

  /** Runs a program in the root as one of its users. */
  as(user: string, command: string[], input = ''): Outcome {
    return this.enter(['setpriv', `--reuid=${user}`, `--regid=${user}`, '--init-groups', '--reset-env'], command, input)
  }

  /** The same as root, and it must succeed. */
  must(...command: string[]): string {
    const { status, output } = this.run(...command)
    if (status !== 0) throw new Error(`${command.join(' ')}: ${output}`)
    return output
  }

  /** A file of ours, in the root's /tmp. */
  give(name: string, content: Buffer): string {
    // Through its first process: /tmp is mounted in its namespace alone.
    writeFileSync(`/proc/${this.pid}/root/tmp/${name}`, content)
    return `/tmp/${name}`
  }

  has(path: string): boolean {
    return existsSync(`/proc/${this.pid}/root${path}`)
  }

  async close(): Promise<void> {
    await this.running.stop()
    await until('its last processes to be gone', () => {
      sh('find', this.cgroup, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', '+')
      return true
    })
    sh('umount', this.folder)
    rmSync(this.folder, { recursive: true })
  }

  private enter(as: string[], command: string[], input: string): Outcome {
    // The root of the process, not of the mount namespace: that is ours.
    const enter = ['-t', String(this.pid), '--mount', '--net', '--uts', '--ipc', '--pid', '--cgroup', '--root', '--wd=/']
    const result = spawnSync('nsenter', [...enter, ...as, ...command], {
      input,
      encoding: 'utf8',
      timeout: 120_000,
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' },
    })
    return { status: result.status ?? -1, output: `${result.stdout}${result.stderr}` }
  }
}

/** The control group that systemd may have below ours. */
function cgroupOf(name: string): string {
  const unified = '/sys/fs/cgroup'
  return join(existsSync(join(unified, 'cgroup.controllers')) ? unified : join(unified, 'systemd'), name)
}

export function sh(name: string, ...args: string[]): string {
  const result = spawnSync(name, args, { encoding: 'utf8' })
  if (result.status !== 0) throw new Error(`${name} ${args.join(' ')}: ${result.stderr}`)
  return result.stdout
}
