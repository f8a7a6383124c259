import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Ticket } from './admission.js';
import { Admission } from './admission.js';
import { ApiError } from './errors.js';

const never = new AbortController().signal;

const admissionOf = (maxSequences: number, maxQueue: number, now?: () => number) =>
  new Admission({ maxSequences, maxQueue, maxRequestSequences: 100 }, now);

/** Lets promises that are resolved tell it. */
const settle = async () => new Promise((resolve) => setTimeout(resolve, 0));

interface Entry {
  readonly size: number;
  readonly priority: number;
  readonly ticket: Ticket;
  readonly controller: AbortController;
  hasBegun: boolean;
  isOver: boolean;
}

function enter(admission: Admission, size: number, priority: number): Entry {
  const controller = new AbortController();
  const ticket = admission.enter(size, priority, controller.signal);
  const entry = { size, priority, ticket, controller, hasBegun: false, isOver: false };
  ticket.turn.then(
    () => (entry.hasBegun = true),
    () => {},
  );
  return entry;
}

describe('admission', () => {
  const action = fc.oneof(
    fc.record({ kind: fc.constant('enter'), size: fc.integer({ min: 1, max: 4 }), n: fc.nat(2) }),
    fc.record({ kind: fc.constant('release'), size: fc.constant(0), n: fc.nat(20) }),
    fc.record({ kind: fc.constant('abort'), size: fc.constant(0), n: fc.nat(20) }),
  );

  test('never runs more sequences than it may, and leaves nobody waiting while there is room', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (actions) => {
        const admission = admissionOf(4, 1000);
        const entries: Entry[] = [];
        for (const { kind, size, n } of actions) {
          const open = entries.filter(({ isOver }) => !isOver);
          const entry = open[n % Math.max(1, open.length)];
          if (kind === 'enter') entries.push(enter(admission, size, n));
          else if (entry && (kind === 'abort' || entry.hasBegun)) {
            entry.isOver = true;
            if (kind === 'abort') entry.controller.abort(new Error('left'));
            entry.ticket.release();
          }
          await settle();
          const live = entries.filter(({ isOver }) => !isOver);
          const running = live.filter(({ hasBegun }) => hasBegun);
          const numRunning = running.reduce((sum, other) => sum + other.size, 0);
          expect(numRunning).toBeLessThanOrEqual(4);
          const waiting = live.filter(({ hasBegun }) => !hasBegun);
          expect(admission.numWaiting).toBe(waiting.length);
          const first = waiting.toSorted((a, b) => b.priority - a.priority)[0];
          if (first) expect(numRunning + first.size).toBeGreaterThan(4);
        }
        for (const { ticket, controller } of entries) {
          controller.abort(new Error('left'));
          ticket.release();
        }
        expect(admission.numOpen).toBe(0);
      }),
      { seed: 71, numRuns: 100 },
    );
  });

  test('a request with more sequences than run at a time runs alone', async () => {
    const admission = admissionOf(2, 10);
    const small = enter(admission, 1, 0);
    const large = enter(admission, 9, 0);
    const next = enter(admission, 1, 0);
    await settle();
    expect([small.hasBegun, large.hasBegun, next.hasBegun]).toEqual([true, false, false]);
    small.ticket.release();
    await large.ticket.turn;
    expect(next.hasBegun).toBe(false);
    large.ticket.release();
    await next.ticket.turn;
    expect(thrownBy(() => admission.enter(101, 0, never)).code).toBe('too_many_sequences');
  });

  test('larger priority goes first, then who came first', async () => {
    const admission = admissionOf(1, 10);
    const running = enter(admission, 1, 0);
    const order: string[] = [];
    const waiting = [
      ['a', 0],
      ['b', 5],
      ['c', 0],
      ['d', 5],
    ] as const;
    const entries = waiting.map(([name, priority]) => {
      const entry = enter(admission, 1, priority);
      void entry.ticket.turn.then(() => order.push(name));
      return entry;
    });
    running.ticket.release();
    for (let left = entries.length; left > 0; left--) {
      await settle();
      entries.find(({ hasBegun, isOver }) => hasBegun && !isOver)!.isOver = true;
      entries.filter(({ isOver }) => isOver).at(-1);
      for (const entry of entries) if (entry.isOver) entry.ticket.release();
    }
    expect(order).toEqual(['b', 'd', 'a', 'c']);
  });

  test('who is given up while it waits is told so and leaves its place', async () => {
    const admission = admissionOf(1, 1);
    const running = enter(admission, 1, 0);
    const waiting = enter(admission, 1, 0);
    expect(() => admission.enter(1, 0, never)).toThrow(ApiError);
    waiting.controller.abort(new Error('left'));
    await expect(waiting.ticket.turn).rejects.toThrow('left');
    expect(admission.numWaiting).toBe(0);
    const other = enter(admission, 1, 0);
    running.ticket.release();
    await other.ticket.turn;
  });

  test('a full queue says when to come back, from how long requests take', () => {
    let now = 0;
    const admission = admissionOf(1, 0, () => now);
    for (let round = 0; round < 40; round++) {
      const { ticket } = enter(admission, 1, 0);
      now += 10_000;
      ticket.release();
    }
    enter(admission, 1, 0);
    const error = thrownBy(() => admission.enter(1, 0, never));
    expect([error.status, error.code]).toEqual([429, 'queue_full']);
    expect(Number(error.headers['retry-after'])).toBe(10);
  });

  test('once closed it takes nobody in, and ends with the last', async () => {
    const admission = admissionOf(1, 5);
    const [first, second] = [enter(admission, 1, 0), enter(admission, 1, 0)];
    let isClosed = false;
    const closed = admission.close().then(() => (isClosed = true));
    expect(thrownBy(() => admission.enter(1, 0, never)).status).toBe(503);
    first.ticket.release();
    await second.ticket.turn;
    expect(isClosed).toBe(false);
    second.ticket.release();
    second.ticket.release();
    await closed;
  });
});

function thrownBy(work: () => unknown): ApiError {
  try {
    work();
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
