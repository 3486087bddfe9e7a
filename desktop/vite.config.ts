import { defineConfig } from 'vitest/config'

export default defineConfig({
  clearScreen: false,
  server: { port: 5173, strictPort: true },
  // WebKitGTK of Debian 12 and newer, WebView2, Safari's of macOS 12.
  build: { target: ['es2021', 'safari15'], assetsInlineLimit: 0 },
  test: { include: ['src/**/*.test.ts', 'packaging/**/*.test.ts'] },
})
