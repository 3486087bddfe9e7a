// What can be said about an invite and a name before anybody is asked.

import { fill, texts } from '../texts'

export const PREFIX = 'osier://join/'
const LONGEST_NAME = 63
/** Longer than any invite; a pasted book is not sent. */
const LONGEST_INVITE = 8192

/** White space comes in by e-mail and terminals; the service does not mind it either. */
export function tidy(invite: string): string {
  return invite.replace(/\s+/g, '')
}

/** What is wrong with the invite; `null` when it is worth asking. */
export function inviteError(invite: string): string | null {
  const text = tidy(invite)
  if (text === '') return texts.join.error.empty
  if (!text.startsWith(PREFIX)) return texts.join.error.notInvite
  const rest = text.slice(PREFIX.length)
  if (rest === '' || text.length > LONGEST_INVITE || !/^[A-Za-z0-9_-]+$/.test(rest)) return texts.join.error.invalid
  return null
}

/** What is wrong with the device's name; empty means "the machine's". */
export function nameError(name: string): string | null {
  const text = name.trim()
  const length = [...text].length
  if (text === '') return null
  if (length > LONGEST_NAME) return fill(texts.join.error.nameTooLong, { count: length })
  return /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/i.test(text) ? null : texts.join.error.badName
}

/** Octets, as certificates count. */
const LONGEST_NETWORK_NAME = 63

/** What is wrong with the name of a network that is to be made. */
export function networkNameError(name: string): string | null {
  const text = name.trim()
  if (text === '') return texts.create.empty
  return new TextEncoder().encode(text).length > LONGEST_NETWORK_NAME ? texts.create.tooLong : null
}

/** The text for a refusal of the service or the registry. */
export function refusalText(code: string | null | undefined, message: string, fix: string | null, name: string): string {
  const e = texts.join.error
  switch (code) {
    case 'invite-invalid':
      return e.invalid
    case 'invite-expired':
      return e.expired
    case 'invite-used':
      return e.used
    case 'invite-unknown':
      return e.unknown
    case 'name-invalid':
      return e.badName
    case 'name-taken':
      return fill(e.nameTaken, { name: name || texts.app.unknown })
    case 'wrong-network':
      return e.otherNetwork
    case 'registry-unreachable':
      return e.unreachable
    default:
      return fill(e.other, { reason: fix === null ? message : `${message}. ${fix}` })
  }
}
