/**
 * How much memory this process has in use, by kind; the kinds only where the system tells them
 * (Linux, /proc/self).
 */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';

/** Bytes. */
export const residentSchema = z.object({
  /** All pages in memory. */
  total: z.number(),
  /** Memory of the program's own. */
  anonymous: z.number().optional(),
  /** Pages of mapped files, programs and libraries among them; the system may drop them. */
  files: z.number().optional(),
  /** Of those, pages of the weight file. */
  weightFile: z.number().optional(),
});

export type Resident = z.infer<typeof residentSchema>;

/** Sum of the "NAME: N kB" lines of a text of /proc, in bytes. */
function kilobyteLines(text: string, name: string): number {
  const lines = text.matchAll(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'gm'));
  return [...lines].reduce((sum, [, count]) => sum + 1024 * Number(count), 0);
}

export async function readResident(): Promise<Resident> {
  if (process.platform !== 'linux') return { total: process.memoryUsage.rss() };
  const status = await readFile('/proc/self/status', 'utf8');
  const smaps = await readFile('/proc/self/smaps', 'utf8');
  const mappings = smaps.split(/^(?=[\da-f]+-[\da-f]+ )/m);
  const ofWeights = mappings.filter((mapping) => /^.*\.safetensors$/m.test(mapping));
  return {
    total: kilobyteLines(status, 'VmRSS'),
    anonymous: kilobyteLines(status, 'RssAnon'),
    files: kilobyteLines(status, 'RssFile'),
    weightFile: kilobyteLines(ofWeights.join(''), 'Rss'),
  };
}
