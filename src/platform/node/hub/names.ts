/**
 * Names on the hub: models and revisions. Both become parts of addresses and of paths in the cache,
 * so nothing that could leave its folder passes. Source: the rules of the Python client's validators.
 */
import { ConfigError } from '../../../errors.js';

/** A repository on the hub. */
export interface RepoName {
  readonly kind: 'model' | 'dataset';
  readonly id: string;
}

/** A name that is one, for messages. */
export const EXAMPLE_ID = 'ByteDance/Ouro-1.4B';

/** Whether a text has the form `ORG/NAME` of a model of the hub. */
export function isModelId(text: string): boolean {
  return /^\b[\w.-]{1,96}\b\/\b[\w.-]{1,96}\b$/.test(text) && !/--|\.\.|\.git$/.test(text);
}

/** The name of the model that a folder of the cache is for; undefined if it is for none. */
export function idOfFolder(folder: string): string | undefined {
  return /^models--(.+)$/.exec(folder)?.[1]?.replace('--', '/');
}

/** @throws ConfigError if it is not of the form `ORG/NAME`. */
export function checkModelId(id: string): void {
  if (isModelId(id)) return;
  throw new ConfigError(
    'model',
    `The model is given as ${JSON.stringify(id)}; the hub names models ORG/NAME, such as ${EXAMPLE_ID}.`,
  );
}

/** @throws ConfigError if it can be no branch, tag or commit. */
export function checkRevision(revision: string): void {
  const isWord = /^[\w+@#.][\w+@#./-]*$/.test(revision) && revision.length <= 250;
  if (isWord && revision.split('/').every((part) => !/^\.{0,2}$/.test(part))) return;
  throw new ConfigError(
    'revision',
    `The revision is ${JSON.stringify(revision)}; it must be a branch, a tag or a commit, such as main.`,
  );
}

/** Whether a revision is a full commit hash, which always means the same files. */
export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}
