/** Tables of the report, and goals in them. */
import { z } from 'zod';

/** A figure that shall not be below or not above a bound. */
export const goalSchema = z.object({
  name: z.string(),
  atLeast: z.number().optional(),
  atMost: z.number().optional(),
  value: z.number(),
});

export type Goal = z.infer<typeof goalSchema>;

export function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(columns), line(columns.map(() => '---')), ...rows.map(line)].join('\n');
}

export const times = (value: number) => `${value.toFixed(2)} x`;

export function goalTable(goals: readonly Goal[]): string {
  return table(
    ['goal', 'at least', 'at most', 'reached', ''],
    goals.map(({ name, atLeast = -Infinity, atMost = Infinity, value }) => [
      name,
      Number.isFinite(atLeast) ? atLeast.toFixed(2) : '',
      Number.isFinite(atMost) ? atMost.toFixed(2) : '',
      value.toFixed(3),
      value >= atLeast && value <= atMost ? 'met' : 'missed',
    ]),
  );
}
