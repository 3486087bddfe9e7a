// The rule is a program: it is run here as polkit runs it.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'

type Details = Record<string, string>
type Rule = (action: { id: string; lookup: (key: string) => string | undefined }, subject: { isInGroup: (name: string) => boolean }) => string

function ask(id: string, details: Details, groups: string[]): string {
  let rule: Rule | null = null
  const polkit = {
    Result: { YES: 'yes', NOT_HANDLED: 'not handled' },
    addRule: (added: Rule) => {
      rule = added
    },
  }
  runInNewContext(readFileSync(join(__dirname, 'osier.rules'), 'utf8'), { polkit })
  return (rule as unknown as Rule)({ id, lookup: (key) => details[key] }, { isInGroup: (name) => groups.includes(name) })
}

const UNITS = 'org.freedesktop.systemd1.manage-units'
const EXEC = 'org.freedesktop.policykit.exec'

describe('members of the group', () => {
  const groups = ['users', 'osier']

  test('may start and stop the service', () => {
    for (const verb of ['start', 'stop', 'restart']) {
      expect(ask(UNITS, { unit: 'osier.service', verb }, groups)).toBe('yes')
    }
    expect(ask(EXEC, { command_line: '/usr/bin/systemctl start osier.service' }, groups)).toBe('yes')
  })

  test('may do nothing else', () => {
    const others: [string, Details][] = [
      [UNITS, { unit: 'ssh.service', verb: 'start' }],
      [UNITS, { unit: 'osier.service', verb: 'set-property' }],
      [UNITS, { verb: 'start' }],
      [EXEC, { command_line: '/usr/bin/systemctl start osier.service ssh.service' }],
      [EXEC, { command_line: '/home/ada/systemctl start osier.service' }],
      [EXEC, { command_line: '/usr/bin/systemctl stop osier.service' }],
      ['org.freedesktop.systemd1.manage-unit-files', { unit: 'osier.service', verb: 'start' }],
    ]
    for (const [id, details] of others) expect(ask(id, details, groups), JSON.stringify(details)).toBe('not handled')
  })
})

test('everyone else is asked as before', () => {
  expect(ask(UNITS, { unit: 'osier.service', verb: 'start' }, ['users', 'sudo'])).toBe('not handled')
  expect(ask(EXEC, { command_line: '/usr/bin/systemctl start osier.service' }, [])).toBe('not handled')
})
