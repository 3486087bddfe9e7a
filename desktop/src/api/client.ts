// The shell's commands. Each control request is one; nothing else leaves this page.

import { Channel, invoke } from '@tauri-apps/api/core'
import { listen } from '@tauri-apps/api/event'
import type {
  Diagnostics,
  Failure,
  JoinLine,
  Member,
  NewInvite,
  Peer,
  ProbeLine,
  Route,
  Service,
  Status,
  Topology,
  TraceLine,
  Usage,
} from './types'

export interface About {
  version: string
  socket: string
  tray: boolean
  autostart: boolean
  user: string
}

export type StartFailure =
  | { kind: 'no-pkexec' | 'no-systemd' | 'not-installed' | 'not-permitted' }
  | { kind: 'other'; message: string }

export interface TrayEntry {
  id?: string
  text?: string
}

function channel<T>(take: (line: T) => void): Channel<T> {
  const lines = new Channel<T>()
  lines.onmessage = take
  return lines
}

export const api = {
  service: () => invoke<Service>('service'),
  status: () => invoke<Status>('status'),
  peers: () => invoke<Peer[]>('peers'),
  members: () => invoke<Member[]>('members'),
  routes: () => invoke<Route[]>('routes'),
  topology: () => invoke<Topology>('topology'),
  usage: () => invoke<Usage>('usage'),
  diagnostics: () => invoke<Diagnostics>('diagnostics'),
  bundle: () => invoke<string>('bundle'),
  switch: (on: boolean) => invoke<Service>('switch', { on }),
  /** The keys are gone afterwards. */
  leave: () => invoke<Service>('leave'),
  /** Resolves when the last line has come. */
  join: (invite: string, name: string | null, take: (line: JoinLine) => void) =>
    invoke<void>('join', { invite, name, lines: channel(take) }),
  /** Resolves when the last line has come. */
  createNetwork: (network: string, name: string | null, take: (line: JoinLine) => void) =>
    invoke<void>('create_network', { network, name, lines: channel(take) }),
  /** For one device and one day. */
  invite: () => invoke<NewInvite>('invite'),
  /** Resolves when it was stopped, or another one has begun. */
  ping: (target: string, take: (line: ProbeLine) => void) => invoke<void>('ping', { target, lines: channel(take) }),
  pingStop: () => invoke<void>('ping_stop'),
  trace: (target: string, take: (line: TraceLine) => void) => invoke<void>('trace', { target, lines: channel(take) }),
  /** Resolves when the service has ended. */
  events: (take: () => void) => invoke<void>('events', { lines: channel(take) }),
}

export const shell = {
  about: () => invoke<About>('about'),
  setAutostart: (on: boolean) => invoke<void>('set_autostart', { on }),
  startService: () => invoke<void>('start_service'),
  /** Saves a file where the user's downloads are; the answer is its path. */
  save: (name: string, text: string) => invoke<string>('save', { name, text }),
  showTray: (face: string, line: string, entries: TrayEntry[]) => invoke<void>('show_tray', { face, line, entries }),
  takeInvite: () => invoke<string | null>('take_invite'),
  onInvite: (take: () => void) => listen('invite', take),
  onTray: (take: (id: string) => void) => listen<string>('tray', (event) => take(event.payload)),
}

/** What went wrong, whatever was thrown. */
export function failureOf(error: unknown): Failure {
  if (typeof error === 'object' && error !== null && 'kind' in error && 'message' in error) return error as Failure
  return { kind: 'broken', message: String(error) }
}
