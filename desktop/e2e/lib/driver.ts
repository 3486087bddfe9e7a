// As much of WebDriver (https://www.w3.org/TR/webdriver2/) as the tests use.

import { until } from './process'

const ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'

export class Driver {
  private constructor(
    private readonly base: string,
    private readonly session: string,
  ) {}

  static async open(port: number, capabilities: object): Promise<Driver> {
    const base = `http://127.0.0.1:${port}`
    const body = { capabilities: { alwaysMatch: capabilities } }
    const { sessionId } = (await request(`${base}/session`, 'POST', body)) as { sessionId: string }
    return new Driver(base, sessionId)
  }

  close(): Promise<unknown> {
    return this.send('DELETE', '')
  }

  run<T>(script: string, ...args: unknown[]): Promise<T> {
    return this.send('POST', '/execute/sync', { script, args }) as Promise<T>
  }

  async screenshot(): Promise<Buffer> {
    return Buffer.from((await this.send('GET', '/screenshot')) as string, 'base64')
  }

  async resize(width: number, height: number): Promise<void> {
    await this.send('POST', '/window/rect', { width, height })
  }

  /** The element, once it is there and visible. */
  find(selector: string): Promise<string> {
    return until(`${selector} to be visible`, async () => {
      const found = await this.send('POST', '/element', { using: 'css selector', value: selector })
      const id = (found as Record<string, string>)[ELEMENT]
      if (id === undefined) return null
      return (await this.send('GET', `/element/${id}/displayed`)) === true ? id : null
    })
  }

  async click(selector: string): Promise<void> {
    const id = await this.find(selector)
    await this.send('POST', `/element/${id}/click`, {})
  }

  async type(selector: string, text: string): Promise<void> {
    const id = await this.find(selector)
    await this.send('POST', `/element/${id}/clear`, {})
    await this.send('POST', `/element/${id}/value`, { text })
  }

  /** Presses keys, for whatever has the focus. */
  async press(...keys: string[]): Promise<void> {
    const actions = keys.flatMap((value) => [
      { type: 'keyDown', value },
      { type: 'keyUp', value },
    ])
    await this.send('POST', '/actions', { actions: [{ type: 'key', id: 'keyboard', actions }] })
  }

  /** The text of the first visible element. */
  async text(selector: string): Promise<string> {
    const script = `
      const visible = [...document.querySelectorAll(arguments[0])].find((e) => e.getClientRects().length > 0)
      return visible ? visible.innerText : ''`
    return this.run<string>(script, selector)
  }

  /** Waits until the text is (or matches) what is expected. */
  async sees(selector: string, expected: string | RegExp): Promise<void> {
    let seen = ''
    try {
      await until('text', async () => {
        seen = (await this.text(selector)).trim()
        return typeof expected === 'string' ? seen === expected : expected.test(seen)
      }, 30_000)
    } catch {
      throw new Error(`${selector} says ${JSON.stringify(seen)}, not ${String(expected)}`)
    }
  }

  private send(method: string, path: string, body?: object): Promise<unknown> {
    return request(`${this.base}/session/${this.session}${path}`, method, body)
  }
}

async function request(url: string, method: string, body?: object): Promise<unknown> {
  const options: RequestInit = { method, headers: { 'content-type': 'application/json' } }
  if (body !== undefined) options.body = JSON.stringify(body)
  const response = await fetch(url, options)
  const { value } = (await response.json()) as { value: unknown }
  if (!response.ok) throw new Error(`${method} ${url}: ${JSON.stringify(value)}`)
  return value
}
