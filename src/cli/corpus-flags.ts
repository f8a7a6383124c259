/**
 * Flags of the commands that read a corpus: which files, and where in them the text is.
 */
import { type Command, Option } from 'commander';
import type { CorpusFormat } from '../data/index.js';
import { CORPUS_FORMATS } from '../data/index.js';
import type { PullProgress } from '../platform/node/index.js';
import { isHubAddress, NODE_PLATFORM, pullDataset, withoutGzip } from '../platform/node/index.js';
import { openByteProgress } from './byte-progress.js';
import type { CliIo } from './io.js';

export interface CorpusFlags {
  readonly format?: CorpusFormat;
  readonly field: string;
  readonly separator?: string;
}

/**
 * The paths with the files of the hub in place of their addresses, pulled with their progress on stderr.
 *
 * @throws LoopLMError as `pullDataset` does; the signal's reason when it aborts
 */
export async function localPaths(
  paths: readonly string[],
  format: CorpusFormat | undefined,
  io: CliIo,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (!paths.some((path) => isHubAddress(path))) return paths;
  const ends = format ? CORPUS_FORMATS[format] : Object.values(CORPUS_FORMATS).flat();
  const isText = (name: string) =>
    ends.some((end) => withoutGzip(name).toLowerCase().endsWith(end));
  const pulling = openByteProgress(io, 'pulling');
  const found: string[] = [];
  try {
    for (const path of paths) {
      if (!isHubAddress(path)) found.push(path);
      else {
        const options = {
          signal,
          progress: ({ receivedBytes, totalBytes }: PullProgress) =>
            pulling.show(receivedBytes, totalBytes),
          onWait: (message: string) => void io.stderr.write(`${message}\n`),
        };
        const platform = { ...NODE_PLATFORM, env: io.env };
        found.push(...(await pullDataset(path, isText, options, platform)));
      }
    }
  } finally {
    pulling.stop();
  }
  return found;
}

/** What the help says of files. */
export const CORPUS_HELP = `PATH is a file, a folder (all files below it count that end in ${Object.values(CORPUS_FORMATS).flat().join(', ')}, or that and .gz)
a quoted pattern such as 'data/**/*.jsonl', or hf://datasets/OWNER/NAME[@REVISION]/FILES for a name, folder or
quoted pattern on the hub (HF_TOKEN, HF_ENDPOINT and HF_HUB_CACHE count). A plain text is one document, unless --separator says
what stands between several, such as '\\n\\n' or '<|endoftext|>'.`;

/** Adds the flags. */
export function withCorpusFlags(command: Command): Command {
  return command
    .argument('<path...>', 'files, folders or patterns')
    .addOption(
      new Option('--format <name>', 'format of all files (default: by their names)').choices(
        Object.keys(CORPUS_FORMATS),
      ),
    )
    .option('--field <name>', 'field of JSONL, or column of parquet, that holds the text', 'text')
    .option(
      '--separator <text>',
      'what stands between the documents of a plain text; \\n and \\t are known',
      (text: string) => text.replaceAll('\\n', '\n').replaceAll('\\t', '\t'),
    );
}
