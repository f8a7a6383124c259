/**
 * What the environment and the caller say about the hub: where it is, where its cache is, the token.
 *
 * The variables are those of the Python client, so that both share one cache and one login. It does
 * not touch the network. Source: huggingface_hub, "Environment variables" of its documentation.
 */
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { ConfigError } from '../../../errors.js';
import { fileExists, readTextFile } from '../files/index.js';
import { checkRevision } from './names.js';

/** Variables by name, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

export interface HubOptions {
  /** Branch, tag or commit. Default main. */
  readonly revision?: string;
  /** Folder of the cache. Default: HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub. */
  readonly cacheDir?: string;
  /** Address of the hub. Default: HF_ENDPOINT, else https://huggingface.co. */
  readonly endpoint?: string;
  /** Access token. Default: HF_TOKEN, else the content of HF_HOME/token. Goes to the endpoint only. */
  readonly token?: string;
  /** Uses the cache only. Default: whether HF_HUB_OFFLINE is on. */
  readonly offline?: boolean;
}

export interface HubSettings {
  readonly revision: string;
  readonly cacheDir: string;
  /** Without a slash at the end. */
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly isOffline: boolean;
}

/**
 * The settings of a call: an option wins over its variable, a variable over the default.
 *
 * @throws ConfigError if the revision or the endpoint is malformed; FileError if the token file is
 *   unreadable.
 */
export async function hubSettings(options: HubOptions, env: Environment): Promise<HubSettings> {
  const { revision = 'main' } = options;
  checkRevision(revision);
  return {
    revision,
    cacheDir: hubCacheFolder(options.cacheDir, env),
    endpoint: parseEndpoint(options.endpoint ?? (env['HF_ENDPOINT'] || 'https://huggingface.co')),
    token: options.token ?? (await findToken(env)),
    isOffline: options.offline ?? [env['HF_HUB_OFFLINE'], env['TRANSFORMERS_OFFLINE']].some(isOn),
  };
}

/** The folder of the cache: the one that is named, or else that of the environment. */
export function hubCacheFolder(named: string | undefined, env: Environment): string {
  const fromVariable = env['HF_HUB_CACHE'] || env['HUGGINGFACE_HUB_CACHE'];
  return resolve(expand(named ?? (fromVariable || join(hubHome(env), 'hub'))));
}

function hubHome(env: Environment): string {
  const cacheHome = env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  return expand(env['HF_HOME'] || join(cacheHome, 'huggingface'));
}

async function findToken(env: Environment): Promise<string | undefined> {
  const fromVariable = (env['HF_TOKEN'] || env['HUGGING_FACE_HUB_TOKEN'])?.trim();
  if (fromVariable) return fromVariable;
  const path = expand(env['HF_TOKEN_PATH'] || join(hubHome(env), 'token'));
  return (await fileExists(path)) ? (await readTextFile(path)).trim() || undefined : undefined;
}

function expand(path: string): string {
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path;
}

function isOn(value: string | undefined): boolean {
  return /^(1|on|yes|true)$/i.test(value ?? '');
}

function parseEndpoint(text: string): string {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new ConfigError(
      'endpoint',
      `The endpoint ${JSON.stringify(text)} is not an address that begins with https:// or http://. Check HF_ENDPOINT.`,
    );
  }
  return text.replace(/\/+$/, '');
}
