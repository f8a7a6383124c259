/**
 * What pulling models needs of its process, so that tests can hand in their own. Apart from pulling
 * itself, which is not loaded for a model that is on disk.
 */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { OpenWritable } from './download.js';
import type { Patience } from './retry.js';
import { PATIENCE } from './retry.js';
import type { Environment } from './settings.js';

/** What a pull needs of its process. */
export interface HubPlatform extends Patience {
  readonly env: Environment;
  readonly openWritable: OpenWritable;
}

/** This process: its environment, its disk, and real waiting. */
export const NODE_PLATFORM: HubPlatform = {
  ...PATIENCE,
  env: process.env,
  openWritable: (path) => open(path, constants.O_RDWR | constants.O_CREAT, 0o644),
};
