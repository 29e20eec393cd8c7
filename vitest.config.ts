import { defineConfig } from 'vitest/config';

const slow = { testTimeout: 60_000, hookTimeout: 60_000 };

export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts', 'test/tidy.test.ts'], ...slow } },
      { test: { name: 'conformance', include: ['test/conformance/**/*.test.ts'], ...slow } },
      { test: { name: 'crossing', include: ['test/crossing/**/*.test.ts'], ...slow } },
      { test: { name: 'interop', include: ['test/interop/**/*.test.ts'], ...slow } },
      { test: { name: 'bench', include: ['test/bench/**/*.test.ts'], ...slow } },
      { test: { name: 'durability', include: ['test/durability/**/*.test.ts'], ...slow } },
      { test: { name: 'simulation', include: ['test/simulation/**/*.test.ts'], ...slow } },
      { test: { name: 'containers', include: ['test/containers/**/*.test.ts'], ...slow } },
    ],
  },
});
