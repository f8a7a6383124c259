/** What a route is: how it is found, what it takes and gives, and what it does. */
import type { z } from 'zod';
import type { Scope, Server } from '../server.js';
import type { Given } from '../wire/fields.js';

/** What a handler gets. */
export interface RouteRequest<Body> {
  readonly server: Server;
  readonly scope: Scope;
  readonly body: Body;
  /** Parts of the path, by name. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
}

/** What an answer looks like, for the OpenAPI document. */
export type AnswerFormat = z.ZodType | { readonly contentType: string };

export interface Route<Body = unknown> {
  readonly method: 'GET' | 'POST';
  /** Parts that begin with a colon have any value, with slashes if they are last. */
  readonly path: string;
  readonly summary: string;
  /** Whether it is served without a key, where keys are asked for. */
  readonly isOpen?: boolean;
  /** Whether it is served only where trainers are allowed. */
  readonly isForTrainers?: boolean;
  /** Schema of the body; none for routes without one. */
  readonly body?: z.ZodObject;
  readonly answer: AnswerFormat;
  /** An item of the stream, for routes that stream. */
  readonly chunk?: z.ZodType;
  handle(request: RouteRequest<Body>): Response | Promise<Response>;
}

/** A route whose handler gets what its schema lets through. */
export function route<S extends z.ZodObject>(
  spec: Omit<Route<Given<z.output<S>>>, 'body'> & { readonly body?: S },
): Route {
  return spec;
}
