/**
 * Errors as OpenAI's clients read them: `{"error": {"message", "type", "param", "code"}}` with a status.
 *
 * Whatever is thrown becomes an `ApiError` here and nowhere else. What a caller did wrong is told in
 * full; of a fault of our own only that it is one, since its message may quote another request.
 */
import { CapacityError, ConfigError, LoopLMError } from '../errors.js';
import { printable } from '../util/quote.js';

type ErrorType =
  | 'invalid_request_error'
  | 'authentication_error'
  | 'permission_error'
  | 'not_found_error'
  | 'timeout_error'
  | 'rate_limit_error'
  | 'server_error';

const TYPES: Readonly<Record<number, ErrorType>> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  408: 'timeout_error',
  429: 'rate_limit_error',
};

/** What goes with an error besides its message. */
export interface ApiErrorDetails {
  /** A stable word for programs. */
  readonly code: string;
  /** The field of the body that is wrong. */
  readonly param?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly cause?: unknown;
}

/** A failure with its HTTP status. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly code: string;
  readonly param: string | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, details: ApiErrorDetails) {
    super(printable(message), { cause: details.cause });
    this.status = status;
    this.code = details.code;
    this.param = details.param;
    this.headers = details.headers ?? {};
  }

  /** The body of the answer. */
  toJSON() {
    const { status, message, code, param = null } = this;
    const type = TYPES[status] ?? (status < 500 ? 'invalid_request_error' : 'server_error');
    return { error: { message, type, param, code } };
  }

  toResponse(): Response {
    return Response.json(this.toJSON(), { status: this.status, headers: this.headers });
  }
}

/** The body of an answer to what was no request yet, for who listens. */
export function errorBody(status: number, code: string, message: string): string {
  return JSON.stringify(new ApiError(status, message, { code }));
}

/** A request that is wrong at one of its fields. */
export function badRequest(param: string | undefined, message: string, code = 'invalid_value') {
  return new ApiError(400, message, { code, param });
}

/** Names of options where they are not those of the library in snake case. */
const WIRE_NAMES: Readonly<Record<string, string>> = {
  maxNewTokens: 'max_tokens',
  stopStrings: 'stop',
  stopIds: 'stop_token_ids',
  topLogprobs: 'top_logprobs',
  chatTemplate: 'messages',
  enableThinking: 'chat_template_kwargs.enable_thinking',
  templateArguments: 'chat_template_kwargs',
};

/** What the body calls an option of the library. */
function wireName(field: string): string {
  const last = field.split('.').at(-1) ?? field;
  return WIRE_NAMES[last] ?? last.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

const CAMEL_CASE = /\b[a-z]+(?:[A-Z][a-z]*)+\b/g;

/**
 * Any error as the one that the caller gets.
 *
 * @param isChecking - whether nothing was computed yet, so that a lack of room is one of the request.
 */
export function toApiError(error: unknown, { isChecking = false } = {}): ApiError {
  if (error instanceof ApiError) return error;
  if (!(error instanceof LoopLMError)) {
    const message =
      'The server made a mistake. Please report it with the x-request-id of the answer.';
    return new ApiError(500, message, { code: 'internal_error', cause: error });
  }
  const message = error.message.replaceAll(CAMEL_CASE, wireName);
  const details = { code: error.code, cause: error };
  if (error instanceof ConfigError) {
    return new ApiError(400, message, { ...details, param: wireName(error.field) });
  }
  if (error instanceof CapacityError) {
    return isChecking
      ? new ApiError(400, message, { ...details, code: 'context_length_exceeded' })
      : new ApiError(503, message, { ...details, code: 'out_of_memory' });
  }
  switch (error.code) {
    case 'request':
      return new ApiError(400, message, details);
    case 'unsupported':
      return new ApiError(422, message, details);
    case 'disposed':
      return new ApiError(503, 'The server is ending.', details);
    default:
      return new ApiError(500, message, details);
  }
}
