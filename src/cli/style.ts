/**
 * Colours of the terminal: one for each depth, from cool to warm, and dim and bold.
 *
 * Colour never carries meaning alone: where a depth matters its number is printed too. Off without
 * a terminal, under NO_COLOR (no-color.org) and where TERM is dumb; FORCE_COLOR turns it on for
 * screenshots.
 */
import type { CliIo, CliOutput } from './io.js';

/** Whether a stream shows colours and lines that are written over. */
export function isRich({ isTTY }: Pick<CliOutput, 'isTTY'>, env: CliIo['env']): boolean {
  return isTTY === true && !env['NO_COLOR'] && env['TERM'] !== 'dumb';
}

/** Codes of the 256-colour palette for depths 1 to 8, legible on dark and on light ground. */
const DEPTH_COLOURS = [33, 37, 71, 136, 166, 160, 162, 99] as const;

export interface Style {
  readonly isColoured: boolean;
  /** A text in the colour of a depth; depths beyond 8 share the last colour. */
  depth(text: string, depth: number): string;
  dim(text: string): string;
  bold(text: string): string;
}

/** The style for what is printed on stdout, or on another stream. */
export function styleOf({ stdout, env }: CliIo, stream: CliOutput = stdout): Style {
  const isForced = !/^(?:0|false)?$/.test(env['FORCE_COLOR'] ?? '');
  const isColoured = isForced || isRich(stream, env);
  const paint = (text: string, code: string) =>
    isColoured && text !== '' ? `\u001b[${code}m${text}\u001b[0m` : text;
  return {
    isColoured,
    depth: (text, depth) =>
      paint(text, `38;5;${DEPTH_COLOURS[Math.min(depth, DEPTH_COLOURS.length) - 1]}`),
    dim: (text) => paint(text, '2'),
    bold: (text) => paint(text, '1'),
  };
}

/** The numbers of all depths in their colours. */
export function depthLegend(style: Style, numLoops: number): string {
  const depths = Array.from({ length: numLoops }, (_, loopIndex) => loopIndex + 1);
  return `depth ${depths.map((depth) => style.depth(String(depth), depth)).join(' ')}`;
}

/** A depth as a bar: as many blocks as loops, the rest of the loops as dots. */
export function depthBar(style: Style, depth: number, numLoops: number): string {
  const rest = '·'.repeat(2 * Math.max(0, numLoops - depth));
  return style.depth('█'.repeat(2 * depth), depth) + style.dim(rest);
}
