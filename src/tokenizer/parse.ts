/**
 * One way to turn a zod failure into the message style of looplm.
 *
 * Only the first issue is told, with its path. Knows no schema.
 */

import type { z } from 'zod';

/** First issue of a failed parse as `path: problem`; the root is called `value`. */
export function describeIssue(error: z.ZodError): { path: string; problem: string } {
  const issue = error.issues[0];
  const path = issue?.path.map(String).join('.') ?? '';
  return { path: path === '' ? 'value' : path, problem: issue?.message ?? 'not valid' };
}
