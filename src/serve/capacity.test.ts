import { expect, test } from 'vitest';
import { freeFraction } from './capacity.js';

const idle = { numRunning: 0, numWaiting: 0, numPagesUsed: 0, maxPages: 40, isPaused: false };

test('an idle server is free, with or without a bound of its cache', () => {
  expect(freeFraction(idle, 0, 8)).toBe(1);
  expect(freeFraction({ ...idle, numPagesUsed: 7, maxPages: Infinity }, 0, 8)).toBe(1);
});

test('the scarcer of sequences and pages counts', () => {
  expect(freeFraction({ ...idle, numRunning: 2, numPagesUsed: 4 }, 0, 8)).toBe(0.75);
  expect(freeFraction({ ...idle, numRunning: 2, numPagesUsed: 30 }, 0, 8)).toBe(0.25);
});

test('what waits takes room like what runs, wherever it waits', () => {
  expect(freeFraction({ ...idle, numRunning: 3, numWaiting: 2 }, 1, 8)).toBe(0.25);
});

test('more work than room is no room, not less', () => {
  expect(freeFraction({ ...idle, numRunning: 8 }, 5, 8)).toBe(0);
});

test('a paused server has no room', () => {
  expect(freeFraction({ ...idle, isPaused: true }, 0, 8)).toBe(0);
});
