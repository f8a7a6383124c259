/** Goals: figures that shall not be below or not above a bound. */
import { z } from 'zod';
import { table } from './markdown.js';

/** JSON has no number for what was not measured, so no file can hold such a goal. */
export const goalSchema = z.object({
  name: z.string(),
  atLeast: z.number().optional(),
  atMost: z.number().optional(),
  value: z.number(),
});

export type Goal = z.infer<typeof goalSchema>;

/** A goal with its figure. Where it holds for each of several figures, the worst counts. */
export function goal(
  name: string,
  bounds: Pick<Goal, 'atLeast' | 'atMost'>,
  values: readonly number[],
): Goal {
  const value = bounds.atLeast === undefined ? Math.max(...values) : Math.min(...values);
  if (!Number.isFinite(value)) throw new Error(`Nothing was measured for the goal "${name}".`);
  return { name, ...bounds, value };
}

export function isMet({ atLeast = -Infinity, atMost = Infinity, value }: Goal): boolean {
  return value >= atLeast && value <= atMost;
}

export function goalTable(goals: readonly Goal[]): string {
  const bound = (value: number | undefined) => value?.toFixed(2) ?? '';
  return table(
    ['goal', 'at least', 'at most', 'reached', ''],
    goals.map((each) => [
      each.name,
      bound(each.atLeast),
      bound(each.atMost),
      each.value.toFixed(3),
      isMet(each) ? 'met' : 'missed',
    ]),
  );
}
