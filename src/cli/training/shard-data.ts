/**
 * Folders of shards as the data of a run: a mixture to train on, and held-out documents of each.
 */
import { createHash } from 'node:crypto';
import { basename, resolve } from 'node:path';
import type { TrainingDocument } from '../../data/index.js';
import { mixtureSource, shardRows } from '../../data/index.js';
import { ConfigError } from '../../errors.js';
import type { LoopLMConfig } from '../../model/index.js';
import type { ShardFolder } from '../../platform/node/index.js';
import { microBatchesBefore } from '../../train/index.js';
import type { DataStage, RunData } from './run-data.js';
import { seedOf, validationOf } from './run-data.js';
import type { RunFile, ShardSetting } from './schema.js';
import { shardSettings } from './schema.js';

/** @throws ConfigError if there is nothing to train on, or all weights are 0 at some train step */
export function shardData(
  file: RunFile,
  folders: readonly ShardFolder[],
  { padTokenId }: LoopLMConfig,
): RunData {
  const { rows, length, order } = file.data;
  const { seed, validation, mixture } = file;
  const settings = shardSettings(file.data);
  if (mixture === undefined) checkWeights(settings);
  const sum = (of: (folder: ShardFolder) => number) =>
    folders.reduce((total, folder) => total + of(folder), 0);
  const tokensOf = (shards: ShardFolder['train']) =>
    shards.reduce((total, { header }) => total + header.tokens, 0);
  const identity = folders.map(({ manifest }, index) => [
    manifest.key,
    settings[index]!.weight,
    settings[index]!.finalWeight ?? null,
  ]);
  const setsOf = (size: number) => folders.map(({ path, train }) => shardRows(path, train, size));
  return {
    sourceOf(stage) {
      const size = { rows: stage.rows ?? rows, length: stage.length ?? length };
      return mixtureSource({
        ...size,
        sets: setsOf(size.length),
        weightsAt: weightsOf(settings, stage),
        seed: seedOf(seed, stage.index ?? 0),
        order,
        padId: padTokenId,
      });
    },
    ...(file.data.epochs !== undefined && { numRows: setsOf(length)[0]!.numRows }),
    validation: validation.fraction === 0 ? [] : validationOf(file, inTurn(folders.map(heldOutOf))),
    description: {
      shards: folders.map(({ path }) => basename(resolve(path))).join(', '),
      sha256: createHash('sha256').update(JSON.stringify(identity)).digest('hex').slice(0, 16),
      tokens: sum(({ train }) => tokensOf(train)),
      heldOutTokens: sum(({ heldOut }) => tokensOf(heldOut)),
      rows,
      length,
      order,
    },
  };
}

/** In a straight line, all weights are 0 somewhere only if they are at an end. */
function checkWeights(settings: readonly ShardSetting[]): void {
  for (const place of ['first', 'last'] as const) {
    const isAbove = ({ weight, finalWeight = weight }: ShardSetting) =>
      (place === 'first' ? weight : finalWeight) > 0;
    if (settings.some(isAbove)) continue;
    throw new ConfigError(
      'data.shards',
      `At the ${place} train step the weights of all shards are 0; at least one must be above. Correct weight and finalWeight.`,
    );
  }
}

/**
 * The weights in a stage: those of its mixture, or else those of the shards, in a straight line from the
 * first micro-batch to the last.
 */
function weightsOf(
  settings: readonly ShardSetting[],
  { mixture, trainSteps = 1, accumulate = 1 }: DataStage,
): (batchIndex: number) => readonly number[] {
  if (mixture) return () => settings.map(({ name }) => mixture[name] ?? 0);
  const last = microBatchesBefore({ accumulate }, trainSteps) - 1;
  return (batchIndex) =>
    settings.map(({ weight, finalWeight = weight }) => {
      const part = Math.min(1, batchIndex / Math.max(1, last));
      return weight + (finalWeight - weight) * part;
    });
}

function* heldOutOf({ heldOut }: ShardFolder): Generator<TrainingDocument> {
  for (const shard of heldOut) {
    for (let document = 0; document < shard.numDocuments; document++) {
      yield shard.nextTokenDocument(document, 0, shard.lengthOf(document) - 1);
    }
  }
}

/** One of each, again and again, until all are used up. */
function* inTurn<T>(generators: readonly Generator<T>[]): Generator<T> {
  const open = new Set(generators);
  while (open.size > 0) {
    for (const generator of open) {
      const next = generator.next();
      if (next.done) open.delete(generator);
      else yield next.value;
    }
  }
}
