/** Text that every installation has, as bytes: the readmes of the installed packages, a part held out. */
import { createHash } from 'node:crypto';
import type { BatchSource, TrainingDocument } from 'looplm/data';
import { documentRows, holdOut, mixtureSource } from 'looplm/data';
import type { EngineOptions } from 'looplm/engine';
import { Engine } from 'looplm/engine';
import { depthFigures } from 'looplm/eval';
import { readCorpus } from '../../recipes/tiny-text/corpus.js';

const PACKAGES = 'node_modules';
/** Ends a document; the others are bytes. */
const END_ID = 256;
export const BYTE_VOCABULARY = 257;

export interface Readmes {
  readonly training: readonly TrainingDocument[];
  readonly heldOut: readonly TrainingDocument[];
  /** Of the text, its first 16 digits. */
  readonly sha256: string;
}

/**
 * @param length - of the held-out documents, which are cut
 * @param heldOutTokens - of all of them together, at most
 */
export async function readReadmes(length: number, heldOutTokens: number): Promise<Readmes> {
  const { readmes } = await readCorpus(PACKAGES);
  const isHeldOut = holdOut(readmes, 0.05);
  const documentsWhere = (side: boolean) =>
    readmes.flatMap((text, index): TrainingDocument[] => {
      if (isHeldOut[index] !== side) return [];
      const ids = [...new TextEncoder().encode(text)];
      return [{ ids, targets: [...ids.slice(1), END_ID] }];
    });
  const heldOut: TrainingDocument[] = [];
  let left = heldOutTokens;
  for (const { ids, targets } of documentsWhere(true)) {
    for (let at = 0; at < ids.length && left > 0; at += length, left -= length) {
      heldOut.push({ ids: ids.slice(at, at + length), targets: targets.slice(at, at + length) });
    }
  }
  return { training: documentsWhere(false), heldOut, sha256: hashOf(readmes) };
}

/** Of the text alone. */
export async function readmesSha256(): Promise<string> {
  return hashOf((await readCorpus(PACKAGES)).readmes);
}

const hashOf = (texts: readonly string[]) =>
  createHash('sha256').update(texts.join('\0')).digest('hex').slice(0, 16);

export interface RowSize {
  readonly rows: number;
  readonly length: number;
}

export function readmeSource(text: Readmes, { rows, length }: RowSize, seed: number): BatchSource {
  return mixtureSource({
    rows,
    length,
    sets: [documentRows('readmes', text.training, length)],
    seed,
    order: 'epochs',
    padId: END_ID,
  });
}

/** Held-out loss after each loop of the model, in nats per byte. */
export async function heldOutLosses(
  text: Readmes,
  model: EngineOptions,
): Promise<readonly number[]> {
  await using engine = await Engine.create(model);
  const [figures] = await depthFigures(engine, [text.heldOut], { exitThreshold: 1 });
  return figures!.lossByDepth;
}
