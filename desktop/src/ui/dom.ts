// Making and changing elements. Text goes into text nodes only: names come from other people's machines.

type Child = Node | string | null | false
type Listener = (event: Event) => void
export type Attributes = Readonly<Record<string, string | number | boolean | Listener | null | undefined>>

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  return finish(document.createElement(tag), attributes, children)
}

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  return finish(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children)
}

function finish<E extends Element>(element: E, attributes: Attributes, children: Child[]): E {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name.replace(/^on/, ''), value)
    else set(element, name, value)
  }
  put(element, ...children)
  return element
}

/** Sets an attribute; `null`, `undefined` and `false` remove it. Does nothing when it is so already. */
export function set(element: Element, name: string, value: string | number | boolean | null | undefined): void {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name)
    return
  }
  const text = value === true ? '' : String(value)
  if (element.getAttribute(name) !== text) element.setAttribute(name, text)
}

/** Replaces what is in `element`. */
export function put(element: Element, ...children: Child[]): void {
  element.replaceChildren(...children.filter((c): c is Node | string => c !== null && c !== false))
}

/** Changes the text only when it differs, so that screen readers and selections are left in peace. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

export function show(element: Element, visible: boolean): void {
  set(element, 'hidden', !visible)
}

/** A name that may be of any length and direction. */
export function name(text: string): HTMLElement {
  return h('bdi', { dir: 'auto', class: 'name', title: text }, text)
}

/** Like `put`, but only when `key` has changed since the last call for this element. */
export function putWhenChanged(element: Element, key: string, make: () => Child[]): void {
  if (keys.get(element) === key) return
  keys.set(element, key)
  put(element, ...make())
}

const keys = new WeakMap<Element, string>()

/** Keeps one element per item, in the items' order; those that stay are updated in place. */
export class Keyed<T, E extends Element> {
  private readonly elements = new Map<string, E>()

  constructor(
    private readonly parent: Element,
    private readonly keyOf: (item: T) => string,
    private readonly make: (item: T) => E,
    private readonly update: (element: E, item: T) => void,
  ) {}

  show(items: readonly T[]): void {
    const gone = new Set(this.elements.keys())
    let next: Element | null = this.parent.firstElementChild
    for (const item of items) {
      const key = this.keyOf(item)
      gone.delete(key)
      let element = this.elements.get(key)
      if (element === undefined) {
        element = this.make(item)
        this.elements.set(key, element)
      }
      this.update(element, item)
      if (element === next) next = next.nextElementSibling
      else this.parent.insertBefore(element, next)
    }
    for (const key of gone) {
      this.elements.get(key)?.remove()
      this.elements.delete(key)
    }
  }

  get(key: string): E | undefined {
    return this.elements.get(key)
  }
}

/** An icon of our own drawing, on a grid of 24, told by its name in `icons`. */
export function icon(which: keyof typeof icons): SVGSVGElement {
  return svg('svg', { viewBox: '0 0 24 24', class: 'icon', 'aria-hidden': 'true' }, svg('path', { d: icons[which] }))
}

const icons = {
  home: 'M4 11 12 4l8 7M6.5 9.5V20h11V9.5M10 20v-5h4v5',
  join: 'M12 5v14M5 12h14',
  devices: 'M3 5h13v9H3zM6.5 18h6M9.5 14v4M18.5 9H21v10h-5v-2',
  topology: 'M12 5.5v6M12 11.5 6 17.5M12 11.5l6 6M10 3.5h4v4h-4zM4 16.5h4v4H4zM16 16.5h4v4h-4z',
  usage: 'M4 20h16M7 17v-6M12 17V5M17 17V9',
  diagnostics: 'M3 12h4l3-7 4 14 3-7h4',
  settings: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 4.5v5M9 14.5v5',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  back: 'M14 5l-7 7 7 7',
  check: 'M5 12.5l4.5 4.5L19 7',
  warning: 'M12 4 2.5 20h19zM12 10v4.5M12 17.3v.2',
  error: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM9 9l6 6M15 9l-6 6',
  info: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 11v5.5M12 7.6v.2',
} as const
