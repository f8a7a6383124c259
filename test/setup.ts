/**
 * Runs before every test file: a test that writes to the console fails.
 *
 * Library code returns or throws what it has to say, so console output in a test is a leftover or
 * an unread warning. A test that is about printing hands in its own writer.
 */
import { afterEach } from 'vitest';

const written: string[] = [];

for (const method of ['debug', 'info', 'log', 'warn', 'error'] as const) {
  console[method] = (...values: unknown[]) => {
    written.push(`console.${method}(${values.map(String).join(', ')})`);
  };
}

afterEach(() => {
  const calls = written.splice(0);
  if (calls.length === 0) return;
  throw new Error(
    `The test wrote to the console: ${calls.join('; ')}. Return or throw it instead.`,
  );
});
