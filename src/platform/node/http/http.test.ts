/** Files for a page, and what a log writes. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { jsonLog, readAssets, terminalLog } from './index.js';

const folder = mkdtempSync(join(tmpdir(), 'looplm-assets-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('files of kinds that pages use are read, by their paths', async () => {
  mkdirSync(join(folder, 'assets', 'deep'), { recursive: true });
  writeFileSync(join(folder, 'index.html'), '<p>');
  writeFileSync(join(folder, 'assets', 'deep', 'app.js'), '1');
  writeFileSync(join(folder, 'notes.bak'), 'x');
  const assets = await readAssets(folder);
  expect([...assets.keys()].toSorted()).toEqual(['/assets/deep/app.js', '/index.html']);
  expect(assets.get('/index.html')!.contentType).toMatch(/^text\/html/);
  expect(new TextDecoder().decode(assets.get('/assets/deep/app.js')!.body)).toBe('1');
});

test('without a folder there are no files', async () => {
  expect((await readAssets(join(folder, 'none'))).size).toBe(0);
});

test('a log for programs is a line of JSON for each thing', () => {
  const lines: string[] = [];
  const log = jsonLog((line) => lines.push(line));
  log('warn', 'response', { requestId: 'a\nb', status: 503 });
  expect(lines).toHaveLength(1);
  expect(lines[0]!.match(/\n/g)).toHaveLength(1);
  expect(JSON.parse(lines[0]!)).toMatchObject({
    level: 'warn',
    msg: 'response',
    requestId: 'a\nb',
    status: 503,
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
  });
});

test('a log for people is a short line, with its control characters shown', () => {
  const lines: string[] = [];
  const now = () => new Date(2026, 10, 28, 12, 3, 4);
  const log = terminalLog((line) => lines.push(line), now);
  log('info', 'response', { requestId: 'r', path: '/\u001b[2J', status: 200, ended: undefined });
  log('error', 'fault', { cause: 'Error: broken\n    at here' });
  expect(lines).toEqual([
    '12:03:04 response path "/\\u001b[2J", status 200\n',
    '12:03:04 error: fault \n',
    'Error: broken\n    at here\n',
  ]);
});
