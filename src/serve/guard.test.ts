import { describe, expect, test } from 'vitest';
import { ApiError } from './errors.js';
import { Guard } from './guard.js';

const guardOf = (settings: Partial<ConstructorParameters<typeof Guard>[0]> = {}) =>
  new Guard({ apiKeys: [], allowedHosts: undefined, corsOrigins: [], ...settings });

const request = (headers: Record<string, string>) => new Request('http://localhost/', { headers });

function siteStatus(guard: Guard, headers: Record<string, string>): number {
  try {
    guard.checkSite(request(headers));
    return 200;
  } catch (error) {
    if (error instanceof ApiError) return error.status;
    throw error;
  }
}

describe('names of the server', () => {
  const guard = guardOf({ allowedHosts: ['localhost', '127.0.0.1', '::1', 'Mine.example'] });

  test.each([
    ['localhost', 200],
    ['LOCALHOST:8080', 200],
    ['localhost.', 200],
    ['127.0.0.1:1', 200],
    ['[::1]:8080', 200],
    ['mine.example', 200],
    ['localhost.evil.example', 403],
    ['evil.example:8080', 403],
    ['127.0.0.2', 403],
    ['localhost@evil.example', 400],
    ['evil.example/localhost', 400],
    ['', 400],
    ['a b', 400],
  ])('%s: %i', (host, status) => {
    expect(siteStatus(guard, { host })).toBe(status);
  });
});

describe('pages', () => {
  test.each([
    ['http://localhost:8080', 200],
    ['https://localhost:8080', 200],
    ['http://localhost:9090', 403],
    ['http://evil.example', 403],
    ['http://localhost:8080.evil.example', 403],
    ['null', 403],
    ['', 403],
  ])('of %s: %i', (origin, status) => {
    expect(siteStatus(guardOf(), { host: 'localhost:8080', origin })).toBe(status);
  });

  test('a star lets all of them ask', () => {
    expect(siteStatus(guardOf({ corsOrigins: ['*'] }), { host: 'a', origin: 'null' })).toBe(200);
  });
});

describe('keys', () => {
  const guard = guardOf({ apiKeys: ['alpha', 'beta'] });

  test.each([
    [{ authorization: 'Bearer alpha' }, true],
    [{ authorization: 'bearer  beta' }, true],
    [{ authorization: `Basic ${btoa(':alpha')}` }, true],
    [{ authorization: `basic ${btoa('anybody:beta')}` }, true],
    [{ authorization: `Basic ${btoa('alpha')}` }, false],
    [{ authorization: `Basic ${btoa('alpha:')}` }, false],
    [{ authorization: `Basic ${btoa('a:alph')}` }, false],
    [{ authorization: 'Basic alpha' }, false],
    [{ authorization: 'Basic :alpha' }, false],
    [{ authorization: 'Digest alpha' }, false],
    [{ authorization: 'Bearer alph' }, false],
    [{ authorization: 'Bearer alphaa' }, false],
    [{ authorization: 'Bearer ' }, false],
    [{ authorization: 'alpha' }, false],
    [{}, false],
  ] as const)('%j', async (headers, isKnown) => {
    const checked = guard.checkKey(request(headers));
    if (isKnown) await checked;
    else await expect(checked).rejects.toMatchObject({ status: 401 });
  });

  test('none are asked for where there are none', async () => {
    await guardOf().checkKey(request({}));
  });
});
