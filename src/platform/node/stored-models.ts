/**
 * The models that the two caches hold: that of the hub, and that of conversions.
 */
import { RequestError } from '../../errors.js';
import { cacheRoot, conversionsFolder, holdConversion, listConversions } from './convert/index.js';
import { holdHubModel, hubCacheFolder, listHubModels } from './hub/index.js';
import type { HeldModel, StoredModel, StoredRevision } from './stored-model.js';

/** Where models are kept. */
export interface CacheFolders {
  /** Of the hub; the Python client's, too. */
  readonly hub: string;
  /** Of looplm's conversions. */
  readonly converted: string;
}

/** @param hub - instead of what the environment says. */
export function cacheFolders(
  env: Readonly<Record<string, string | undefined>>,
  hub?: string,
): CacheFolders {
  return { hub: hubCacheFolder(hub, env), converted: conversionsFolder(cacheRoot(env)) };
}

/** Models of the hub first, then conversions, both by name. @throws FileError if a cache is unreadable */
export async function listStoredModels({ hub, converted }: CacheFolders): Promise<StoredModel[]> {
  return [...(await listHubModels(hub)), ...(await listConversions(converted))];
}

/** A model of the list, or one commit of it. */
export interface PickedModel {
  readonly model: StoredModel;
  readonly revision: StoredRevision | undefined;
}

/**
 * The model that a user calls `NAME` or `NAME@REVISION`; a commit may be cut short.
 *
 * @throws RequestError if there is none, or more than one.
 */
export function pickStoredModel(models: readonly StoredModel[], called: string): PickedModel {
  const [, name = called, revision] = /^(.+)@([^@]+)$/.exec(called) ?? [];
  const found = models.filter((model) => model.name === name);
  const [model] = found;
  if (!model || found.length > 1) {
    const what = model ? `Two models are called ${name}` : `No cached model is called ${name}`;
    throw new RequestError(`${what}. See looplm list for their names and folders.`);
  }
  if (revision === undefined) return { model, revision: undefined };
  const fits = ({ commit, refs }: StoredRevision) =>
    refs.includes(revision) || (/^[0-9a-f]{4,}$/.test(revision) && commit.startsWith(revision));
  const revisions = model.revisions.filter(fits);
  if (revisions.length === 1) return { model, revision: revisions[0] };
  const there = model.revisions.map(({ commit, refs }) => [commit.slice(0, 7), ...refs].join(' '));
  throw new RequestError(
    `${revisions.length === 0 ? 'No revision' : 'More than one revision'} of ${name} in the cache is called ${revision}; ${there.length > 0 ? `there are ${there.join(', ')}` : 'it has none'}.`,
  );
}

/**
 * Keeps others from all of these models, so that they can be removed.
 *
 * @throws FileError if one is being pulled or converted; then none is held.
 */
export async function holdStoredModels(picked: readonly PickedModel[]): Promise<HeldModel[]> {
  const held: HeldModel[] = [];
  try {
    for (const model of new Set(picked.map((each) => each.model))) {
      const revisions = picked.filter((each) => each.model === model).map((each) => each.revision);
      const commits = revisions.flatMap((revision) => revision?.commit ?? []);
      const isAll = commits.length < revisions.length;
      const isHub = model.kind === 'hub';
      held.push(await (isHub ? holdHubModel(model, isAll || commits) : holdConversion(model)));
    }
    return held;
  } catch (error) {
    for (const model of held) await model.release();
    throw error;
  }
}
