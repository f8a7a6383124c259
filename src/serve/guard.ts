/**
 * Who may ask at all: keys, the Host header, and the pages of other sites.
 *
 * A server on a loopback address can be reached by any page that the user opens, so the name it is
 * called by is checked (DNS rebinding), and where the asking page comes from (cross-site requests).
 * Keys are compared by their digests, in a time that does not tell how much of one was right.
 */
import { quote } from '../util/quote.js';
import { ApiError, badRequest } from './errors.js';
import type { ServeSettings } from './options.js';

const PREFLIGHT_SECONDS = '600';

export class Guard {
  readonly #settings: Pick<ServeSettings, 'apiKeys' | 'allowedHosts' | 'corsOrigins'>;
  readonly #digests: Promise<readonly Uint8Array[]>;

  constructor(settings: Pick<ServeSettings, 'apiKeys' | 'allowedHosts' | 'corsOrigins'>) {
    this.#settings = settings;
    this.#digests = Promise.all(settings.apiKeys.map(digestOf));
  }

  /**
   * Headers for an answer to the page that asks; none if no page of another site does.
   *
   * @throws ApiError 400 for a Host header that is none, 403 for one of another name or a page of another site
   */
  checkSite(request: Request): Readonly<Record<string, string>> {
    const host = request.headers.get('host') ?? new URL(request.url).host;
    this.#checkHost(host);
    const origin = request.headers.get('origin');
    if (origin === null) return {};
    const { corsOrigins } = this.#settings;
    if (corsOrigins.includes(origin) || corsOrigins.includes('*')) {
      return {
        'access-control-allow-origin': origin,
        'access-control-expose-headers': 'x-request-id, retry-after',
        vary: 'origin',
      };
    }
    if (hostOf(origin) === host.toLowerCase()) return {};
    throw new ApiError(
      403,
      `The page that asks is of ${quote(origin)}; this server answers to its own pages only. Start it with --cors ${origin === 'null' ? 'ORIGIN' : origin} to let it ask.`,
      { code: 'origin_not_allowed' },
    );
  }

  /** What a page may send, for a browser that asks before it does. */
  preflight(request: Request): Response {
    const asked = request.headers.get('access-control-request-headers');
    return new Response(null, {
      status: 204,
      headers: {
        'access-control-allow-methods': 'GET, POST',
        ...(asked !== null && { 'access-control-allow-headers': asked }),
        'access-control-max-age': PREFLIGHT_SECONDS,
      },
    });
  }

  /** @throws ApiError 401 without a key that lets the request in */
  async checkKey(request: Request): Promise<void> {
    const digests = await this.#digests;
    if (digests.length === 0) return;
    const header = request.headers.get('authorization') ?? '';
    const given = await digestOf(keyOf(header));
    const isKnown = digests.reduce((known, digest) => areEqual(digest, given) || known, false);
    if (header !== '' && isKnown) return;
    throw new ApiError(
      401,
      header === ''
        ? 'This server asks for a key; send the header Authorization: Bearer KEY.'
        : 'The key is not one that this server knows. Check the header Authorization: Bearer KEY.',
      { code: 'invalid_api_key', headers: { 'www-authenticate': 'Bearer' } },
    );
  }

  #checkHost(host: string): void {
    const name = nameOf(host);
    if (name === undefined) {
      throw badRequest(undefined, `The Host header is ${quote(host)}, which is no host.`);
    }
    const { allowedHosts } = this.#settings;
    if (!allowedHosts || allowedHosts.some((allowed) => nameOf(allowed) === name)) return;
    throw new ApiError(
      403,
      `The Host header is ${quote(host)}; this server answers to ${allowedHosts.join(', ')}. Start it with --allow-host ${name} to be called so.`,
      { code: 'host_not_allowed' },
    );
  }
}

/**
 * The key in an Authorization header; empty if there is none. Clients that have no place for a key but
 * their server's address (`http://:KEY@host`) send it as the password of the Basic scheme.
 */
function keyOf(header: string): string {
  const [, scheme = '', value = ''] = /^(\S+) +(.+)$/.exec(header) ?? [];
  switch (scheme.toLowerCase()) {
    case 'bearer':
      return value;
    case 'basic':
      return /^[^:]*:(.*)$/s.exec(decodeBase64(value))?.[1] ?? '';
    default:
      return '';
  }
}

function decodeBase64(text: string): string {
  try {
    return atob(text);
  } catch {
    return '';
  }
}

async function digestOf(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
}

/** Reads all of both. */
function areEqual(a: Uint8Array, b: Uint8Array): boolean {
  let difference = 0;
  for (const [index, byte] of a.entries()) difference |= byte ^ b[index]!;
  return difference === 0;
}

/** Name of a host without its port, in lower case; undefined for what is none. */
function nameOf(host: string): string | undefined {
  const bare = host.includes(':') && !/[[\].]/.test(host) && !/^[^:]+:\d+$/.test(host);
  const url = `http://${bare ? `[${host}]` : host}`;
  if (/[\s/\\?#@]/.test(host) || !URL.canParse(url)) return undefined;
  return new URL(url).hostname.replace(/\.$/, '');
}

/** Host and port of an origin. */
function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
