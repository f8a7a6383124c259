/**
 * Progress of work that is counted in bytes: a bar at a terminal, a line for every tenth elsewhere.
 */
import { SingleBar } from 'cli-progress';
import type { CliIo } from './io.js';
import { short } from './table.js';

export interface ByteProgress {
  /** Shows how far the work is. */
  show(doneBytes: number, totalBytes: number): void;
  /** Ends the bar, so that other text can follow. */
  stop(): void;
}

/** Opens a progress display on stderr. `doing` is a verb, such as `writing`. */
export function openByteProgress({ stderr }: CliIo, doing: string): ByteProgress {
  return stderr.isTTY ? openBar(stderr, doing) : openLines(stderr, doing);
}

function openBar(stream: CliIo['stderr'], doing: string): ByteProgress {
  const bar = new SingleBar({
    stream,
    format: `${doing} {bar} {percentage} % | {done} of {size} | {eta_formatted} left`,
    barsize: 30,
    barCompleteChar: '█',
    barIncompleteChar: '·',
    hideCursor: true,
  });
  return {
    show(doneBytes, totalBytes) {
      const payload = { done: `${short(doneBytes)}B`, size: `${short(totalBytes)}B` };
      if (bar.isActive) bar.update(doneBytes, payload);
      else bar.start(totalBytes, doneBytes, payload);
    },
    stop: () => bar.stop(),
  };
}

function openLines(stream: CliIo['stderr'], doing: string): ByteProgress {
  let shownTenths = -1;
  return {
    show(doneBytes, totalBytes) {
      const tenths = Math.floor((10 * doneBytes) / totalBytes);
      if (tenths <= shownTenths) return;
      shownTenths = tenths;
      stream.write(`${doing}: ${10 * tenths} % of ${short(totalBytes)}B\n`);
    },
    stop: () => {},
  };
}
