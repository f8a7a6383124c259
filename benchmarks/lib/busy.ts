/** How busy the processors are with other work: figures of a busy machine are worth little. */
import { cpus } from 'node:os';
import { setTimeout } from 'node:timers/promises';

const SAMPLE_MS = 1000;

/** Idle and total milliseconds of all processors since the machine started. */
function readTimes(): { idle: number; total: number } {
  const times = cpus().map((cpu) => cpu.times);
  return {
    idle: times.reduce((sum, { idle }) => sum + idle, 0),
    total: times.reduce(
      (sum, { user, nice, sys, idle, irq }) => sum + user + nice + sys + idle + irq,
      0,
    ),
  };
}

/**
 * Fraction of the processors' time that is used during a second in which the caller does nothing, 0
 * to 1. Peers that wait must not show up in it.
 */
export async function busyFraction(): Promise<number> {
  const before = readTimes();
  await setTimeout(SAMPLE_MS);
  const after = readTimes();
  return 1 - (after.idle - before.idle) / (after.total - before.total);
}
