/**
 * The cache of converted models: a conversion is done once, at first use, and found by its key.
 *
 * The key says what was converted and how (see fingerprint.ts), so nothing in the cache is ever out of
 * date; a changed source has another key. Two processes share one conversion: the second waits.
 */
import { homedir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import type { ParsedModelConfig } from '../../../model/index.js';
import type { ConvertOptions } from './convert.js';
import { prepareConversion, runConversion } from './convert.js';

export interface ConversionCacheOptions extends Pick<
  ConvertOptions,
  'numWorkers' | 'progress' | 'onWait' | 'signal'
> {
  /** Default: LOOPLM_CACHE, else XDG_CACHE_HOME/looplm, else ~/.cache/looplm. */
  readonly cacheDir?: string;
  /** Default: that of the process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/**
 * The folder that holds the conversion of a checkpoint; converts it if it is not there yet. Its name
 * begins with that of the model.
 *
 * @throws as `convertModel` does.
 */
export async function convertedFolder(
  source: {
    readonly path: string;
    readonly revision?: string;
    /** What its config.json says, where that has been read already. */
    readonly parsed?: ParsedModelConfig;
  },
  settings: Omit<ConvertOptions, keyof ConversionCacheOptions | 'shouldWait' | 'revision'>,
  options: ConversionCacheOptions = {},
): Promise<string> {
  const { cacheDir, env = process.env, ...rest } = options;
  const { path, revision, parsed } = source;
  const commit = revision === undefined ? {} : { revision };
  const prepared = await prepareConversion(path, { ...settings, ...commit }, { parsed });
  const name = `${modelNameOf(path)}-${settings.dtype}-${prepared.key.slice(0, 16)}`;
  const folder = join(conversionsFolder(cacheDir ?? cacheRoot(env)), name);
  await runConversion(prepared, folder, { ...rest, ...commit, shouldWait: true });
  return folder;
}

/** The folder of a cache that holds the converted models. */
export function conversionsFolder(cacheDir: string): string {
  return join(cacheDir, 'converted');
}

/** Where converted models are kept. */
export function cacheRoot(env: Readonly<Record<string, string | undefined>>): string {
  return resolve(
    env['LOOPLM_CACHE'] || join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'looplm'),
  );
}

/** The name of the model whose folder this is; a snapshot of the hub is named by its repository. */
function modelNameOf(path: string): string {
  const full = resolve(path);
  const repository = /models--[^/\\]+--([^/\\]+)[/\\]snapshots[/\\][^/\\]+$/.exec(full);
  return (repository?.[1] ?? basename(full)).replaceAll(/[^\w.-]/g, '_') || 'model';
}
