import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import type { Reporter } from 'vitest/node';

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

/** Tells what was left out, and why, which the default reporter keeps to itself. */
const skippedTests: Reporter = {
  onTestRunEnd(modules) {
    for (const { children } of modules) {
      for (const test of children.allTests('skipped')) {
        const result = test.result();
        const reason = (result.state === 'skipped' && result.note) || undefined;
        if (reason !== undefined) process.stdout.write(`skipped: ${test.fullName}: ${reason}\n`);
      }
    }
  },
};

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
    include: ['{src,test,recipes,experiments,scripts,benchmarks,web}/**/*.test.ts'],
    setupFiles: ['test/setup.ts'],
    reporters: ['default', ['json', { outputFile: 'dist/test-results.json' }], skippedTests],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
