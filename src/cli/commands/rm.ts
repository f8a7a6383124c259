/**
 * `looplm rm`: removes models from the caches, after asking.
 */
import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import { RequestError } from '../../errors.js';
import type { PickedModel, StoredModel } from '../../platform/node/index.js';
import {
  cacheFolders,
  holdStoredModels,
  listStoredModels,
  pickStoredModel,
} from '../../platform/node/index.js';
import type { CliIo } from '../io.js';
import { InterruptedError, interruptible } from '../io.js';
import { tellNote } from '../messages.js';
import { shortBytes } from '../table.js';

interface Flags {
  readonly cacheDir?: string;
  readonly yes?: true;
  readonly json?: true;
}

const EXAMPLES = `
Names are those of looplm list. NAME@REVISION removes one revision of a model of the hub; files that others
share stay. A model that is being pulled or converted is refused. Removed models can be had again.

Examples:
  looplm rm ByteDance/Ouro-1.4B
  looplm rm ByteDance/Ouro-1.4B@main Ouro-1.4B-q8-0123456789abcdef --yes
`;

export function registerRm(program: Command, io: CliIo): void {
  program
    .command('rm')
    .description('remove models from the caches')
    .argument('<names...>', 'names of looplm list')
    .option('--cache-dir <folder>', 'folder of the cache of the hub, as for pull')
    .option('--yes', 'do not ask')
    .option('--json', 'print one JSON object; needs --yes')
    .addHelpText('after', EXAMPLES)
    .action((names: readonly string[], flags: Flags) => rm(names, flags, io));
}

async function rm(names: readonly string[], flags: Flags, io: CliIo): Promise<void> {
  const models = await listStoredModels(cacheFolders(io.env, flags.cacheDir));
  const picked = [...new Set(names)].map((name) => pickStoredModel(models, name));
  if (!flags.yes && !(await isConfirmed(picked, flags, io))) {
    io.stderr.write('Nothing was removed.\n');
    return;
  }
  const held = await holdStoredModels(picked);
  try {
    for (const model of held) await model.remove();
  } finally {
    for (const model of held) await model.release();
  }
  const freedBytes = held.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const removed = picked.map(titleOf);
  const text = flags.json
    ? JSON.stringify({ removed, freedBytes })
    : `Removed ${removed.join(', ')}: ${shortBytes(freedBytes)}.`;
  io.stdout.write(`${text}\n`);
  noteConversions(picked, models, io);
}

function titleOf({ model, revision }: PickedModel): string {
  return revision === undefined ? model.name : `${model.name}@${revision.commit.slice(0, 7)}`;
}

/** Conversions of a removed model still take their place, and can be run by their folder alone. */
function noteConversions(
  picked: readonly PickedModel[],
  models: readonly StoredModel[],
  io: CliIo,
): void {
  const isRemoved = (name: string) => picked.some(({ model }) => model.name === name);
  const left = models.filter(({ name, source }) => source && isRemoved(source) && !isRemoved(name));
  if (left.length === 0) return;
  const names = left.map(({ name }) => name).join(', ');
  tellNote(`what was converted from it stays: ${names}`, io);
}

async function isConfirmed(
  picked: readonly PickedModel[],
  { json }: Flags,
  io: CliIo,
): Promise<boolean> {
  if (json || !io.stdin.isTTY) {
    throw new RequestError('Removing asks first, and nobody can answer here; give --yes.');
  }
  for (const each of picked) {
    const { path, sizeBytes } = each.model;
    const size = each.revision === undefined ? `${shortBytes(sizeBytes)}, ` : '';
    io.stderr.write(`${titleOf(each)}  ${size}${path}\n`);
  }
  return interruptible(io, async (signal) => {
    const reader = createInterface({ input: io.stdin, output: io.stderr });
    try {
      const ended = once(reader, 'close').then(() => '');
      const answer = await Promise.race([reader.question('Remove? [y/N] ', { signal }), ended]);
      return /^\s*y(?:es)?\s*$/i.test(answer);
    } catch (error) {
      throw signal.aborted ? new InterruptedError() : error;
    } finally {
      reader.close();
    }
  });
}
