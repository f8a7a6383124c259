/**
 * The server as a function from `Request` to `Response`, in web standards; who listens, and where, is
 * the business of the platform.
 *
 * The order in which a request passes: its id, the log and the counters around all else, headers that
 * every answer has, Host and Origin, the key, the route. What is thrown anywhere becomes an answer in
 * OpenAI's shape in one place.
 */
import { Hono } from 'hono';
import { ConfigError } from '../errors.js';
import { showValue } from '../util/quote.js';
import { Admission } from './admission.js';
import { newId, unixSeconds } from './answers/ids.js';
import type { Capacity } from './capacity.js';
import { freeFraction } from './capacity.js';
import { ApiError, toApiError } from './errors.js';
import { Control, RunningRequests } from './control.js';
import { Guard } from './guard.js';
import { Metrics } from './metrics.js';
import { openApiDocument } from './openapi.js';
import type { ServeOptions } from './options.js';
import { parseServeOptions } from './options.js';
import { assetResponse } from './routes/assets.js';
import { ROUTES } from './routes/index.js';
import type { Route } from './routes/route.js';
import type { ServedModel } from './served-model.js';
import type { Scope, Server } from './server.js';
import { maxTextBytes } from './text-limit.js';
import { readBody } from './wire/body.js';

/** A server that nobody listens for yet. */
export interface ServeApp {
  /** Answers a request; never throws. The request's signal gives it up. */
  fetch(request: Request): Promise<Response>;
  /** What it could take on now, for a balancer. */
  capacity(): Capacity;
  /**
   * Takes no new requests any more; resolves when the last one has ended.
   *
   * @param notice - until it resolves they are still taken, though `/ready` and `capacity` tell of the
   *   end: time for balancers to learn of it before anybody is refused
   */
  drain(notice?: Promise<unknown>): Promise<void>;
}

interface Env {
  Variables: { scope: Scope; route: string };
}

const OPEN_API: Omit<Route, 'answer'> = {
  method: 'GET',
  path: '/openapi.json',
  summary: 'This document.',
  isOpen: true,
  handle: ({ server }) => Response.json(openApiDocument(ROUTES, server.settings.version)),
};

/**
 * Makes a server of a model. The model is borrowed: it is disposed by who loaded it, after `drain`.
 *
 * @throws ConfigError for an option that is not allowed, or what is no model; also for an exit policy that the
 *   model does not have
 */
export function createServeApp(model: ServedModel, options: ServeOptions): ServeApp {
  checkModelToServe(model);
  const settings = parseServeOptions(options);
  // refused now, and not with every request
  model.check([0], { exitPolicy: settings.exitPolicy });
  const admission = new Admission(settings);
  const metrics = new Metrics(settings.modelName, model, admission);
  const chatTemplate = settings.chatTemplate ?? model.chatTemplate;
  const running = new RunningRequests();
  const control = new Control(model, admission, running);
  const server: Server = {
    model,
    settings,
    admission,
    metrics,
    running,
    control,
    chatTemplate,
    maxTextBytes: maxTextBytes(model),
    created: unixSeconds(),
  };
  const stopListening = model.onStep((report) => metrics.step(report));
  const app = buildRouter(server);
  return {
    fetch: async (request) => app.fetch(request),
    capacity: () => ({
      freeFraction: freeFraction(model.stats, admission.numWaiting, settings.maxSequences),
      isDraining: admission.isEnding,
    }),
    async drain(notice) {
      admission.announceEnd();
      await notice;
      const ended = admission.close();
      control.resume();
      await ended;
      stopListening();
    },
  };
}

function checkModelToServe(model: unknown): void {
  const { generate, check, chatPrompt } = (model ?? {}) as Partial<ServedModel>;
  if ([generate, check, chatPrompt].every((method) => typeof method === 'function')) return;
  throw new ConfigError(
    'model',
    `The model is ${showValue(model)}; it must be a loaded LoopLM. Load one with LoopLM.fromPretrained.`,
  );
}

function buildRouter(server: Server): Hono<Env> {
  const { settings, metrics } = server;
  const guard = new Guard(settings);
  const app = new Hono<Env>();

  app.onError((error) => {
    const known = toApiError(error);
    if (known.status >= 500 && known.code === 'internal_error') {
      settings.log('error', 'fault', { cause: error.stack ?? error.message });
    }
    return known.toResponse();
  });

  app.use(async (c, next) => {
    const { raw } = c.req;
    const arrivedAt = performance.now();
    const id = requestId(raw.headers.get('x-request-id'));
    c.set('scope', { id, signal: raw.signal, arrivedAt });
    await next();
    c.res.headers.set('x-request-id', id);
    c.res.headers.set('x-content-type-options', 'nosniff');
    c.res.headers.set('referrer-policy', 'no-referrer');
    metrics.response(c.get('route') ?? 'none', c.res.status);
    settings.log(c.res.status >= 500 ? 'warn' : 'info', 'response', {
      requestId: id,
      method: raw.method,
      path: c.req.path,
      status: c.res.status,
      ms: Math.round(performance.now() - arrivedAt),
    });
  });

  app.use(async (c, next) => {
    const headers = guard.checkSite(c.req.raw);
    const isPreflight = c.req.raw.headers.has('access-control-request-method');
    if (c.req.method === 'OPTIONS' && isPreflight) c.res = guard.preflight(c.req.raw);
    else await next();
    for (const [name, value] of Object.entries(headers)) c.res.headers.set(name, value);
  });

  for (const route of [...ROUTES, OPEN_API]) addRoute(app, server, guard, route);
  for (const path of new Set([...ROUTES, OPEN_API].map((route) => honoPath(route.path)))) {
    addOtherMethods(app, path);
  }
  app.get('*', (c) => assetResponse(server, c.req.path));
  app.all('*', (c) => {
    throw new ApiError(404, `There is nothing at ${c.req.path}. See /openapi.json.`, {
      code: 'not_found',
    });
  });
  return app;
}

function addRoute(
  app: Hono<Env>,
  server: Server,
  guard: Guard,
  { method, path, isOpen, isForTrainers, body: schema, handle }: Omit<Route, 'answer'>,
): void {
  app.on(method, honoPath(path), async (c) => {
    c.set('route', path);
    if (!isOpen) await guard.checkKey(c.req.raw);
    if (isForTrainers && !server.settings.trainers) throw trainersOff(path);
    const { maxBodyBytes } = server.settings;
    const body = schema && (await readBody(c.req.raw, schema, maxBodyBytes));
    return handle({
      server,
      scope: c.get('scope'),
      body,
      params: c.req.param(),
      query: new URL(c.req.url).searchParams,
    });
  });
}

function trainersOff(path: string): ApiError {
  return new ApiError(
    404,
    `${path} is for trainers, and this server was not started for them; start it with --allow-weight-updates and a key.`,
    { code: 'not_enabled' },
  );
}

/** What a path does not do is told with what it does. */
function addOtherMethods(app: Hono<Env>, path: string): void {
  const methods = [...ROUTES, OPEN_API]
    .filter((route) => honoPath(route.path) === path)
    .map(({ method }) => method);
  const allow = [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ');
  app.all(path, (c) => {
    if (c.req.method === 'OPTIONS') return new Response(null, { status: 204, headers: { allow } });
    throw new ApiError(405, `${c.req.path} takes ${allow}, and not ${c.req.method}.`, {
      code: 'method_not_allowed',
      headers: { allow },
    });
  });
}

/** Names of models have slashes. */
function honoPath(path: string): string {
  return path.replace(/:(\w+)$/, ':$1{.+}');
}

/** The id that the client gave, if it is a plain one, or a new one. */
function requestId(given: string | null): string {
  return given !== null && /^[\w.:-]{1,128}$/.test(given) ? given : newId('req_');
}
