/** The OpenAPI 3.1 document, made from the very schemas that check bodies. */
import { z } from 'zod';
import type { AnswerFormat, Route } from './routes/route.js';
import { errorSchema } from './wire/server.js';

type Json = Record<string, unknown>;

/** The document of some routes. */
export function openApiDocument(routes: readonly Route[], version: string): Json {
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'looplm',
      version,
      description: 'A looped language model, each token at its own depth, over HTTP.',
    },
    paths,
    components: {
      securitySchemes: { key: { type: 'http', scheme: 'bearer' } },
      schemas: { Error: jsonSchema(errorSchema, 'output') },
    },
  };
}

function operation({ path, summary, isOpen, body, answer, chunk }: Route): Json {
  const names = [...path.matchAll(/:(\w+)/g)].map(([, name]) => name);
  const parameters = names.map((name) => {
    return { name, in: 'path', required: true, schema: { type: 'string' } };
  });
  return {
    summary,
    ...(parameters.length > 0 && { parameters }),
    ...(!isOpen && { security: [{ key: [] }, {}] }),
    ...(body && {
      requestBody: {
        required: true,
        content: { 'application/json': { schema: jsonSchema(body, 'input') } },
      },
    }),
    responses: {
      200: {
        description: chunk
          ? 'The answer; with stream, its chunks as server-sent events.'
          : 'The answer.',
        content: {
          ...answerContent(answer),
          ...(chunk && { 'text/event-stream': { schema: jsonSchema(chunk, 'output') } }),
        },
      },
      default: {
        description: 'What went wrong.',
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    },
  };
}

function answerContent(answer: AnswerFormat): Json {
  return 'contentType' in answer
    ? { [answer.contentType]: { schema: { type: 'string' } } }
    : { 'application/json': { schema: jsonSchema(answer, 'output') } };
}

function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io });
  return rest;
}
