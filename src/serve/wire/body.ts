/**
 * From the bytes of a request to a body that a schema has checked, or the one error that says what is
 * wrong. Bounded in bytes and in nesting before anything is parsed.
 */
import type { z } from 'zod';
import { checkFields } from '../../util/parse-fields.js';
import { quote } from '../../util/quote.js';
import { ApiError, badRequest } from '../errors.js';
import type { Given } from './fields.js';
import { withoutNulls } from './fields.js';

/** Brackets within brackets; JSON schemas of tools need a dozen. */
const MAX_LEVELS = 64;

/**
 * @throws ApiError 413 for too many bytes, 415 for what is not said to be JSON, 400 for what is none or
 *   has other fields
 */
export async function readBody<S extends z.ZodObject>(
  request: Request,
  schema: S,
  maxBytes: number,
): Promise<Given<z.output<S>>> {
  checkContentType(request.headers);
  const value = parseJson(await readText(request, maxBytes));
  const checked = checkFields(schema, value, 'the request');
  if ('data' in checked) return withoutNulls(checked.data);
  const message = checked.faults.map(({ sentence }) => sentence).join(' ');
  const { path, unknownKey } = checked.faults[0]!;
  const param = [path, unknownKey].filter(Boolean).join('.');
  const code = unknownKey === undefined ? 'invalid_value' : 'unknown_parameter';
  throw badRequest(param === '' ? undefined : param, message, code);
}

function checkContentType(headers: Headers): void {
  const type = headers.get('content-type') ?? '';
  const isJson = /^application\/json\s*(?:;\s*charset="?utf-?8"?\s*)?$/i.test(type.trim());
  if (!isJson) {
    throw new ApiError(
      415,
      `The content type is ${quote(type)}; it must be application/json, in UTF-8.`,
      { code: 'unsupported_media_type' },
    );
  }
  const encoding = headers.get('content-encoding') ?? 'identity';
  if (encoding.toLowerCase() !== 'identity') {
    throw new ApiError(
      415,
      `The content encoding is ${quote(encoding)}; bodies must not be compressed.`,
      { code: 'unsupported_media_type' },
    );
  }
}

async function readText(request: Request, maxBytes: number): Promise<string> {
  const tooLarge = () =>
    new ApiError(413, `The body is longer than ${maxBytes} bytes. Send less at once.`, {
      code: 'body_too_large',
      headers: { connection: 'close' },
    });
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) throw tooLarge();
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let text = '';
  let numBytes = 0;
  try {
    for await (const bytes of request.body ?? []) {
      numBytes += bytes.byteLength;
      if (numBytes > maxBytes) throw tooLarge();
      text += decoder.decode(bytes, { stream: true });
    }
    return text + decoder.decode();
  } catch (error) {
    if (error instanceof ApiError) throw error;
    const isEncoding = error instanceof TypeError && 'code' in error;
    throw badRequest(
      undefined,
      isEncoding ? 'The body is not valid UTF-8.' : 'The body broke off before its end.',
      'invalid_body',
    );
  }
}

function parseJson(text: string): unknown {
  if (nestsTooDeep(text)) {
    throw badRequest(undefined, `The body nests more than ${MAX_LEVELS} levels.`, 'invalid_json');
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw badRequest(
      undefined,
      `The body is not valid JSON (${quote(reason)}); it must be an object.`,
      'invalid_json',
    );
  }
}

/** Whether brackets outside of strings nest too deep, found without recursion. */
function nestsTooDeep(text: string): boolean {
  let level = 0;
  let isString = false;
  for (let place = 0; place < text.length; place += 1) {
    const character = text[place];
    if (isString) {
      if (character === '\\') place += 1;
      else if (character === '"') isString = false;
    } else if (character === '"') isString = true;
    else if (character === '[' || character === '{') level += 1;
    else if (character === ']' || character === '}') level -= 1;
    if (level > MAX_LEVELS) return true;
  }
  return false;
}
