import { expect, test } from 'vitest'
import { en } from '../texts/en'
import { inviteError, nameError, networkNameError, refusalText, tidy } from './invite'

test('white space of e-mails and terminals does not matter', () => {
  expect(tidy(' osier://join/\n  AbC\tdEf ')).toBe('osier://join/AbCdEf')
  expect(inviteError(' osier://join/\n  AbC\tdEf ')).toBeNull()
})

test.each([
  ['', en.join.error.empty],
  ['   ', en.join.error.empty],
  ['AbC', en.join.error.notInvite],
  ['osier://leave/AbC', en.join.error.notInvite],
  ['osier://join/', en.join.error.invalid],
  ['osier://join/ab.c', en.join.error.invalid],
  [`osier://join/${'a'.repeat(9000)}`, en.join.error.invalid],
])('%j is no invite', (invite, text) => {
  expect(inviteError(invite)).toBe(text)
})

test('names follow the rules of certificates', () => {
  for (const good of ['', 'a', 'Berlin-2', 'x'.repeat(63)]) expect(nameError(good)).toBeNull()
  for (const bad of ['-a', 'a-', 'a b', 'a_b', 'é', 'a.b']) expect(nameError(bad)).toBe(en.join.error.badName)
  expect(nameError('x'.repeat(200))).toBe('A name has at most 63 characters; this one has 200.')
})

test('every refusal that the service documents has words of its own', () => {
  const codes = ['invite-invalid', 'invite-expired', 'invite-used', 'invite-unknown', 'name-invalid', 'name-taken', 'wrong-network', 'registry-unreachable']
  const texts = codes.map((code) => refusalText(code, 'message', null, 'berlin'))
  expect(new Set(texts).size).toBe(codes.length)
  for (const text of texts) expect(text).not.toContain('message')
})

test('of any other, the service’s own words are shown', () => {
  expect(refusalText('disk', 'the disk is full', 'make room', '')).toBe('Joining failed: the disk is full. make room')
  expect(refusalText(null, 'broken', null, '')).toBe('Joining failed: broken')
})

test('a network is called what people like, within limits', () => {
  for (const good of ['home', 'Grünfeld & Söhne', 'x'.repeat(63)]) expect(networkNameError(good)).toBeNull()
  expect(networkNameError('  ')).toBe(en.create.empty)
  expect(networkNameError('ü'.repeat(32))).toBe(en.create.tooLong)
})
