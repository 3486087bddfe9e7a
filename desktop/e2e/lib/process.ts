// Processes that a test starts, waits for and ends.

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { createServer } from 'node:net'

/** Nothing that a test waits for takes longer, even on a busy machine. */
const PATIENCE_MS = 60_000
const POLL_MS = 50
const GRACE_MS = 5_000

/** Asks until the answer is neither false, null nor undefined; errors count as "not yet". */
export async function until<T>(what: string, ask: () => Promise<T> | T, patience = PATIENCE_MS): Promise<NonNullable<T>> {
  const end = Date.now() + patience
  let last: unknown = null
  for (;;) {
    try {
      const answer = await ask()
      if (answer !== false && answer !== null && answer !== undefined) return answer as NonNullable<T>
      last = answer
    } catch (error) {
      last = error
    }
    if (Date.now() > end) throw new Error(`not within ${patience / 1000} s: ${what} (last: ${String(last)})`)
    await new Promise((resume) => setTimeout(resume, POLL_MS))
  }
}

export class Running {
  readonly output: string[] = []
  private partial = ''

  constructor(
    readonly name: string,
    private readonly child: ChildProcess,
  ) {
    const take = (chunk: Buffer) => {
      const lines = (this.partial + chunk.toString()).split('\n')
      this.partial = lines.pop() ?? ''
      this.output.push(...lines)
    }
    child.stdout?.on('data', take)
    child.stderr?.on('data', take)
    child.on('error', (error) => this.output.push(String(error)))
  }

  static start(program: string, args: string[], options: SpawnOptions = {}): Running {
    // A group of its own, so that what it starts ends with it.
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true, ...options })
    return new Running(program, child)
  }

  get ended(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null || this.child.pid === undefined
  }

  get pid(): number | undefined {
    return this.child.pid
  }

  write(line: string): void {
    this.child.stdin?.write(`${line}\n`)
  }

  line(pattern: RegExp, from = 0): Promise<string> {
    return until(`${this.name} to print ${pattern}`, () => {
      const found = this.output.slice(from).find((line) => pattern.test(line))
      if (found === undefined && this.ended) throw new Error(`${this.name} has ended: ${this.output.slice(-5).join(' | ')}`)
      return found ?? null
    })
  }

  async stop(): Promise<void> {
    if (this.ended) return
    this.signal('SIGTERM')
    try {
      await until(`${this.name} to end`, () => this.ended, GRACE_MS)
    } catch {
      this.signal('SIGKILL')
      await until(`${this.name} to be killed`, () => this.ended)
    }
  }

  private signal(signal: NodeJS.Signals): void {
    if (this.child.pid === undefined) return
    try {
      process.kill(-this.child.pid, signal)
    } catch {
      // It has just ended.
    }
  }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resume) => server.listen(0, '127.0.0.1', resume))
  const address = server.address()
  await new Promise((resume) => server.close(resume))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
