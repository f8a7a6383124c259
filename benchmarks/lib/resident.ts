/**
 * How much memory this process has in use, by kind; the kinds only where the system tells them
 * (Linux, /proc/self).
 */
import { readFile, writeFile } from 'node:fs/promises';
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

/** The mappings of weight files as texts of /proc/self/smaps, put together. */
async function weightMappings(): Promise<string> {
  const smaps = await readFile('/proc/self/smaps', 'utf8');
  const mappings = smaps.split(/^(?=[\da-f]+-[\da-f]+ )/m);
  return mappings.filter((mapping) => /^.*\.(safetensors|gguf)$/m.test(mapping)).join('');
}

export async function readResident(): Promise<Resident> {
  if (process.platform !== 'linux') return { total: process.memoryUsage.rss() };
  const status = await readFile('/proc/self/status', 'utf8');
  return {
    total: kilobyteLines(status, 'VmRSS'),
    anonymous: kilobyteLines(status, 'RssAnon'),
    files: kilobyteLines(status, 'RssFile'),
    weightFile: kilobyteLines(await weightMappings(), 'Rss'),
  };
}

/**
 * Bytes that this process has in memory, and those of them that it needs to go on with `work`: all but
 * pages of mapped weight files that `work` does not read, which the system may drop. Linux only.
 */
export async function readInUse(
  work: () => Promise<unknown>,
): Promise<{ readonly resident: number; readonly inUse: number }> {
  await writeFile('/proc/self/clear_refs', '1'); // nothing has been read as yet
  await work();
  const read = kilobyteLines(await weightMappings(), 'Referenced');
  const { total, weightFile } = await readResident();
  return { resident: total, inUse: total - weightFile! + read };
}
