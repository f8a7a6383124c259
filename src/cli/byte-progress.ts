/**
 * Progress of work that is counted, mostly in bytes: a bar at a terminal, a line for every tenth
 * elsewhere.
 */
import { createRequire } from 'node:module';
import type * as CliProgress from 'cli-progress';
import type { CliIo } from './io.js';
import { isRich } from './style.js';
import { short, shortBytes } from './table.js';

/** Of what few commands need, when they need it. */
const require = createRequire(import.meta.url);

export interface Progress {
  /** Shows how far the work is. */
  show(done: number, total: number): void;
  /** Ends the bar, so that other text can follow. */
  stop(): void;
}

/** Opens a progress display on stderr. `doing` is a verb, such as `writing`. */
export function openByteProgress(io: CliIo, doing: string): Progress {
  return openProgress(io, doing, 'B');
}

/** The same for other things than bytes. `unit` follows the numbers. */
export function openProgress({ stderr, env }: CliIo, doing: string, unit: string): Progress {
  return isRich(stderr, env) ? openBar(stderr, doing, unit) : openLines(stderr, doing, unit);
}

/** Work that takes less is not worth a bar. */
const LATE_MS = 1000;

/** The same for work that is often short: a bar at a terminal, after a second. */
export function openLateProgress(io: CliIo, doing: string, unit: string): Progress {
  if (!isRich(io.stderr, io.env)) return { show: () => {}, stop: () => {} };
  const bar = openBar(io.stderr, doing, unit);
  const start = io.now();
  return {
    show(done, total) {
      if (io.now() - start >= LATE_MS) bar.show(done, total);
    },
    stop: bar.stop,
  };
}

function openBar(stream: CliIo['stderr'], doing: string, unit: string): Progress {
  const { SingleBar } = require('cli-progress') as typeof CliProgress;
  const bar = new SingleBar({
    stream,
    format: `${doing} {bar} {percentage} % | {done} of {size} | {eta_formatted} left`,
    barsize: 30,
    barCompleteChar: '█',
    barIncompleteChar: '·',
    hideCursor: true,
  });
  return {
    show(done, total) {
      const payload = { done: counted(done, unit), size: counted(total, unit) };
      if (bar.isActive) bar.update(done, payload);
      else bar.start(total, done, payload);
    },
    stop() {
      if (bar.isActive) bar.stop();
    },
  };
}

function openLines(stream: CliIo['stderr'], doing: string, unit: string): Progress {
  let shownTenths = -1;
  return {
    show(done, total) {
      const tenths = Math.floor((10 * done) / total);
      if (tenths <= shownTenths) return;
      shownTenths = tenths;
      stream.write(`${doing}: ${10 * tenths} % of ${counted(total, unit)}\n`);
    },
    stop: () => {},
  };
}

function counted(count: number, unit: string): string {
  return unit === 'B' ? shortBytes(count) : `${short(count)}${unit}`;
}
