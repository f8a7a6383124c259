/** All routes, in the order of the OpenAPI document. A new protocol is a file of routes and a line here. */
import { chat } from './chat.js';
import { completions } from './completions.js';
import { health, metrics, ready, version } from './health.js';
import { getModel, listModels } from './models.js';
import { responses } from './responses.js';
import type { Route } from './route.js';
import { detokenize, tokenize, tokenizerInfo } from './tokenizer.js';
import { TRAINER_ROUTES } from './trainers/index.js';

export const ROUTES: readonly Route[] = [
  completions,
  chat,
  responses,
  listModels,
  getModel,
  tokenize,
  detokenize,
  tokenizerInfo,
  ...health,
  ready,
  metrics,
  version,
  ...TRAINER_ROUTES,
];
