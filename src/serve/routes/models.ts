/** `GET /v1/models`: the one model that is served, and what can be asked of it. */
import { KV_POLICIES, defaultExitPolicy, hasExitGate } from '../../engine/index.js';
import { checkModel } from '../model-name.js';
import type { Server } from '../server.js';
import { maxModelLength } from '../server.js';
import type { WireModel } from '../wire/server.js';
import { modelListSchema, modelSchema } from '../wire/server.js';
import { route } from './route.js';

export const listModels = route({
  method: 'GET',
  path: '/v1/models',
  summary: 'The model that is served.',
  answer: modelListSchema,
  handle: ({ server }) => Response.json({ object: 'list', data: [describeModel(server)] }),
});

export const getModel = route({
  method: 'GET',
  path: '/v1/models/:id',
  summary: 'The model that is served, by its name.',
  answer: modelSchema,
  handle({ server, params }) {
    checkModel(server, params['id']);
    return Response.json(describeModel(server));
  },
});

function describeModel(server: Server): WireModel {
  const { model, settings, chatTemplate } = server;
  const { config } = model;
  return {
    id: settings.modelName,
    object: 'model',
    created: server.created,
    owned_by: 'looplm',
    max_model_len: maxModelLength(server),
    num_loops: config.numLoops,
    has_exit_gate: hasExitGate(config),
    exit_policy: settings.exitPolicy ?? defaultExitPolicy(config).name,
    kv_policies: [...KV_POLICIES],
    has_chat_template: chatTemplate !== undefined,
    has_reasoning: model.thinksByDefault,
    ...(settings.examples.length > 0 && { examples: [...settings.examples] }),
  };
}
