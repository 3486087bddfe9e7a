// Light or dark: as the system has it, unless the user says otherwise.

export const THEMES = ['system', 'light', 'dark'] as const
export type Theme = (typeof THEMES)[number]

const KEY = 'theme'

export function savedTheme(): Theme {
  const saved = localStorage.getItem(KEY)
  return THEMES.find((theme) => theme === saved) ?? 'system'
}

export function applyTheme(theme: Theme): void {
  localStorage.setItem(KEY, theme)
  if (theme === 'system') delete document.documentElement.dataset['theme']
  else document.documentElement.dataset['theme'] = theme
}
