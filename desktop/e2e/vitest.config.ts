import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['e2e/**/*.test.ts'],
    // One window at a time: two of them would wait for each other's processor time.
    fileParallelism: false,
    testTimeout: 90_000,
    hookTimeout: 120_000,
    bail: 0,
  },
})
