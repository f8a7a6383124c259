/**
 * `looplm list`: the models in the caches, pulled and converted.
 */
import type { Command } from 'commander';
import type { StoredModel } from '../../platform/node/index.js';
import { cacheFolders, listStoredModels } from '../../platform/node/index.js';
import type { CliIo } from '../io.js';
import { printable } from '../../util/quote.js';
import { styleOf } from '../style.js';
import { shortBytes, table } from '../table.js';

interface Flags {
  readonly cacheDir?: string;
  readonly json?: true;
}

const EXAMPLES = `
Models of the hub are in the cache of the Python client (HF_HOME, HF_HUB_CACHE), with those that other
programs have put there; conversions are in that of looplm (LOOPLM_CACHE). looplm rm removes them.

Examples:
  looplm list
  looplm list --json
`;

export function registerList(program: Command, io: CliIo): void {
  program
    .command('list')
    .description('list the models in the caches, pulled and converted')
    .option('--cache-dir <folder>', 'folder of the cache of the hub, as for pull')
    .option('--json', 'print one JSON object')
    .addHelpText('after', EXAMPLES)
    .action((flags: Flags) => list(flags, io));
}

async function list({ cacheDir, json }: Flags, io: CliIo): Promise<void> {
  const folders = cacheFolders(io.env, cacheDir);
  const models = await listStoredModels(folders);
  const totalBytes = models.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  if (json) {
    io.stdout.write(`${JSON.stringify({ folders, totalBytes, models: models.map(jsonOf) })}\n`);
    return;
  }
  const { bold, dim } = styleOf(io);
  const of = (kind: StoredModel['kind']) => models.filter((model) => model.kind === kind);
  const sections = [
    { title: 'from the hub', folder: folders.hub, rows: hubRows(of('hub')) },
    { title: 'converted', folder: folders.converted, rows: conversionRows(of('converted')) },
  ];
  const lines = sections.flatMap(({ title, folder, rows }) => [
    `${bold(title)}  ${dim(printable(folder))}`,
    ...(rows.length > 1 ? table(rows, { textColumns: [0, 1, 4, 5] }) : ['  none']),
  ]);
  const total = `${models.length} ${models.length === 1 ? 'model' : 'models'}, ${shortBytes(totalBytes)}`;
  io.stdout.write(`${[...lines, total].join('\n')}\n`);
}

function hubRows(models: readonly StoredModel[]): string[][] {
  const rows = models.map((model) => {
    const revisions = model.revisions.map(({ commit, refs }) =>
      [commit.slice(0, 7), ...refs].join(' '),
    );
    return [...cellsOf(model), revisions.join(', ') || 'none', stateOf(model, 'no weights')];
  });
  return [[...HEADING, 'revisions', ''], ...rows];
}

function conversionRows(models: readonly StoredModel[]): string[][] {
  const rows = models.map((model) => [
    ...cellsOf(model),
    model.source ?? '-',
    stateOf(model, 'unfinished'),
  ]);
  return [[...HEADING, 'from', ''], ...rows];
}

const HEADING = ['name', 'type', 'size', 'modified'] as const;

function cellsOf({ name, dtype, sizeBytes, modified }: StoredModel): string[] {
  return [name, dtype ?? '-', shortBytes(sizeBytes), modified?.toISOString().slice(0, 10) ?? '-'];
}

function stateOf({ isWhole }: StoredModel, otherwise: string): string {
  return isWhole ? '' : otherwise;
}

function jsonOf({ modified, dtype, source, ...rest }: StoredModel): object {
  return {
    ...rest,
    source: source ?? null,
    dtype: dtype ?? null,
    modified: modified?.toISOString() ?? null,
  };
}
