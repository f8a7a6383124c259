import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: '#platform', replacement: source('platform/node/pretrained.ts') },
      { find: '#telemetry', replacement: source('platform/node/telemetry.ts') },
      { find: /^looplm$/, replacement: source('index.ts') },
      { find: /^looplm\/errors$/, replacement: source('errors.ts') },
      { find: /^looplm\/node$/, replacement: source('platform/node/index.ts') },
      { find: /^looplm\/(.+)$/, replacement: `${source('')}$1/index.ts` },
    ],
  },
  test: {
    include: ['{src,test,recipes,scripts,benchmarks,web}/**/*.test.ts'],
    setupFiles: ['test/setup.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
