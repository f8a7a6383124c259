/** A model and tokens for tests. */
import type { Model, Token } from '../api/token.js';

export const MODEL: Model = {
  id: 'm',
  maxModelLen: 1024,
  numLoops: 4,
  hasExitGate: true,
  exitPolicy: 'cdf:0.2',
  kvPolicies: ['per-loop', 'shared'],
  hasChatTemplate: true,
  examples: [],
};

export const TOKEN: Token = {
  text: 'a',
  name: 'a',
  channel: 'answer',
  exitDepth: 2,
  logprob: 0,
  top: [],
  loops: [],
  atMs: 0,
};
