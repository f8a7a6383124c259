/** Routes with which trainers of reinforcement learning drive the server. */
import type { Route } from '../route.js';
import { generate } from './generate.js';
import { getWorldSize, sequenceLogprobs, serverInfo, trlGenerate, trlHealth } from './trl.js';
import { isPaused, liveness, pause, resetPrefixCache, resume, updateWeights } from './weights.js';

export const TRAINER_ROUTES: readonly Route[] = [
  generate,
  pause,
  resume,
  isPaused,
  updateWeights,
  resetPrefixCache,
  trlGenerate,
  sequenceLogprobs,
  serverInfo,
  ...getWorldSize,
  trlHealth,
  liveness,
];
