/**
 * Flags of the commands that read a corpus: which files, and where in them the text is.
 */
import { type Command, Option } from 'commander';
import type { CorpusFormat } from '../data/index.js';
import { CORPUS_FORMATS } from '../data/index.js';

export interface CorpusFlags {
  readonly format?: CorpusFormat;
  readonly field: string;
  readonly separator?: string;
}

/** What the help says of files. */
export const CORPUS_HELP = `PATH is a file, a folder (all files below it count that end in ${Object.values(CORPUS_FORMATS).flat().join(', ')})
or a quoted pattern such as 'data/**/*.jsonl'. A plain text is one document, unless --separator says
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
