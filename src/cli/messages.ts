/**
 * Messages for people. They quote what is in files and flags, and that may come from a stranger: so
 * control characters are shown and not sent, since a terminal obeys them, and floods are cut.
 */
import { printable } from '../util/quote.js';
import type { CliIo } from './io.js';

const MAX_LENGTH = 2000;
/** The end of a message says what to do. */
const KEPT_END = 400;

/** A message in one line of bounded length. */
export function messageLine(text: string): string {
  const line = printable(text.replaceAll(/\s*\n\s*/g, ' ').trim());
  if (line.length <= MAX_LENGTH) return line;
  return `${line.slice(0, MAX_LENGTH - KEPT_END)} ... ${line.slice(-KEPT_END)}`;
}

/** Tells on stderr what went wrong. */
export function tellError(message: string, { stderr }: CliIo): void {
  stderr.write(`error: ${messageLine(message)}\n`);
}

/** Tells on stderr what is worth knowing. */
export function tellNote(message: string, { stderr }: CliIo): void {
  stderr.write(`note: ${messageLine(message)}\n`);
}
