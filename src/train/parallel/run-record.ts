/**
 * What a run is: its settings and the weights that it began with. The first machine writes it, and the others
 * must have the same settings.
 */
import { z } from 'zod';
import type { SharedStore } from '../../cluster/index.js';
import { putByDigest } from '../../cluster/index.js';
import { CheckpointError, ConfigError } from '../../errors.js';
import type { ModelWeights } from '../../model/index.js';
import { describeDifferences } from '../config-differences.js';
import type { TrainConfig } from '../config.js';
import { encodeState, startOfRun } from './outer-state.js';

const runSchema = z.strictObject({
  /** Tells the run from another one of the same name. */
  id: z.string(),
  config: z.unknown(),
  /** Object of the state before the first round. */
  start: z.string(),
});

export type RunRecord = Readonly<z.output<typeof runSchema>>;

const RUN_KEY = 'run';

/** Objects of states, by the round that begins with them. */
export const STATE_KIND = 'state';

/**
 * The run of a store, begun by this machine if there is none.
 *
 * @throws ConfigError if it has other settings, which are named
 */
export async function enterRun(
  store: SharedStore,
  config: TrainConfig,
  weights: ModelWeights,
): Promise<RunRecord> {
  for (;;) {
    const record = await store.read(RUN_KEY);
    if (record) return checkRun(store, config, record.text);
    const bytes = encodeState(config, startOfRun(weights));
    const start = await putByDigest(store, `${STATE_KIND}-start`, bytes);
    const run: RunRecord = { id: crypto.randomUUID(), config, start };
    await store.write(RUN_KEY, JSON.stringify(run), 0); // or another machine was faster
  }
}

function checkRun(store: SharedStore, config: TrainConfig, text: string): RunRecord {
  let run: RunRecord;
  try {
    run = runSchema.parse(JSON.parse(text));
  } catch (cause) {
    const message = `${store.name} holds something else than a run. Name another run.`;
    throw new CheckpointError(message, { cause });
  }
  const different = describeDifferences(run.config, config);
  if (!different) return run;
  throw new ConfigError(
    different.first,
    `${store.name} is a run with other settings: ${different.text}. Join with the settings of that run, or begin a new one under another name.`,
  );
}
