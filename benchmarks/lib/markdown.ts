/** Tables of the report and the numbers in them. */
import type { Distribution } from './statistics.js';

export function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(columns), line(columns.map(() => '---')), ...rows.map(line)].join('\n');
}

export const times = (value: number) => `${value.toFixed(2)} x`;

export const percent = (value: number, digits = 0) => `${(100 * value).toFixed(digits)} %`;

/** "28.4, 29.1, 33.0": the least, the lower quartile and the median. */
export const spread = ({ min, p25, p50 }: Distribution, digits = 1) =>
  [min, p25, p50].map((value) => value.toFixed(digits)).join(', ');
