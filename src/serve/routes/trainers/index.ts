/** Routes with which trainers of reinforcement learning drive the server. */
import type { Route } from '../route.js';
import { generate } from './generate.js';
import { getWorldSize, serverInfo, trlChat, trlGenerate } from './trl.js';
import { sequenceLogprobs } from './trl-scores.js';
import { isPaused, pause, resetPrefixCache, resume, updateWeights } from './weights.js';

export const TRAINER_ROUTES: readonly Route[] = [
  generate,
  pause,
  resume,
  isPaused,
  updateWeights,
  ...resetPrefixCache,
  trlGenerate,
  trlChat,
  sequenceLogprobs,
  serverInfo,
  ...getWorldSize,
];
