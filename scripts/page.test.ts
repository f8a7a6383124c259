/** The size of the playground's scripts. */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { checkScripts } from './page.js';

describe('checkScripts', () => {
  it('counts what travels: bytes after gzip, of all scripts together', () => {
    expect(checkScripts([new Uint8Array(1e6)])).toEqual([]);
    const half = randomBytes(60_000); // random bytes do not become fewer
    expect(checkScripts([half])).toEqual([]);
    expect(checkScripts([half, half])[0]?.what).toMatch(/^has 12\d{4} bytes/);
  });
});
