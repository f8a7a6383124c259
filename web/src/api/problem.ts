/**
 * What went wrong, in words for somebody who has never seen an HTTP status: what happened, what the
 * server said, and what to do.
 */
import type { WireError } from './wire.js';

export interface Problem {
  readonly kind: 'key' | 'unreachable' | 'busy' | 'refused' | 'broken';
  /** What happened: one sentence. */
  readonly title: string;
  /** What the server said itself. */
  readonly detail?: string;
  /** What to do about it: one sentence. */
  readonly todo: string;
}

/** A problem on its way to whoever shows it. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.title);
    this.problem = problem;
  }
}

export const UNREACHABLE: Problem = {
  kind: 'unreachable',
  title: 'The server does not answer.',
  todo: 'See whether looplm serve is still running, start it again, and try once more.',
};

export const CUT_OFF: Problem = {
  kind: 'broken',
  title: 'The connection ended before the answer did.',
  todo: 'What arrived is kept above. See whether the server is still running, and try again.',
};

/** Problem of an answer with a status of 400 or more. `retryAfter` is the header of that name. */
export function problemOfStatus(
  status: number,
  error: WireError | undefined,
  retryAfter: string | null,
  hadKey: boolean,
): Problem {
  const detail = error?.message === undefined ? {} : { detail: error.message };
  switch (status) {
    case 401:
      return {
        kind: 'key',
        title: hadKey ? 'The server does not accept this key.' : 'This server asks for a key.',
        todo: 'Enter a key that the server was started with. It is kept in this page only.',
      };
    case 403:
      return {
        kind: 'refused',
        title: 'The server does not let this page in.',
        ...detail,
        todo: 'Open it at the address that looplm serve printed.',
      };
    case 404:
      return {
        kind: 'refused',
        title: 'The server does not know what was asked for.',
        ...detail,
        todo: 'Reload the page: the server may have been started with another model.',
      };
    case 408:
      return {
        kind: 'broken',
        title: 'The request took longer than the server allows.',
        ...detail,
        todo: 'Ask for fewer tokens, or try again when the server has less to do.',
      };
    case 413:
      return {
        kind: 'refused',
        title: 'The text is too long for this server.',
        ...detail,
        todo: 'Shorten it and try again.',
      };
    case 429:
    case 503:
      return {
        kind: 'busy',
        title: status === 429 ? 'The server has too much to do.' : 'The server is not ready.',
        ...detail,
        todo: `Try again in ${waitOf(retryAfter)}.`,
      };
    default:
      if (status >= 500) {
        return {
          kind: 'broken',
          title: 'The server failed to answer.',
          ...detail,
          todo: 'Try again; if it stays so, the log of the server says more.',
        };
      }
      return {
        kind: 'refused',
        title: error?.param
          ? `The server refused the setting ${error.param}.`
          : 'The server refused the request.',
        ...detail,
        todo: 'Change it and run again.',
      };
  }
}

/** Problem that came within a stream. */
export function problemOfEvent(error: WireError): Problem {
  return {
    kind: 'broken',
    title: 'The server gave up on this answer.',
    ...(error.message === undefined ? {} : { detail: error.message }),
    todo: 'What arrived is kept above. Try again.',
  };
}

function waitOf(retryAfter: string | null): string {
  const seconds = Number(retryAfter);
  if (retryAfter === null || !(seconds > 0)) return 'a moment';
  return seconds === 1 ? 'a second' : `${Math.ceil(seconds)} seconds`;
}
