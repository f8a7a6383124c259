import { expect, test } from 'vitest';
import {
  CapacityError,
  ConfigError,
  DisposedError,
  RequestError,
  UnsupportedError,
} from '../errors.js';
import { ApiError, toApiError } from './errors.js';

test.each([
  [new ConfigError('maxNewTokens', 'maxNewTokens is 0.'), 400, 'config', 'max_tokens'],
  [new ConfigError('sampling.topP', 'topP is 2.'), 400, 'config', 'top_p'],
  [new RequestError('The prompt is empty.'), 400, 'request', undefined],
  [new CapacityError('No room.'), 503, 'out_of_memory', undefined],
  [new UnsupportedError('Not here.'), 422, 'unsupported', undefined],
  [new DisposedError('The model'), 503, 'disposed', undefined],
  [new TypeError('secret'), 500, 'internal_error', undefined],
  ['a text', 500, 'internal_error', undefined],
])('%s becomes %i %s', (error, status, code, param) => {
  expect(toApiError(error)).toMatchObject({ status, code, param });
});

test('names of options are those of the body', () => {
  const error = new ConfigError('exitPolicy', 'exitPolicy does not go with kvPolicy and stopIds.');
  expect(toApiError(error).message).toBe(
    'exit_policy does not go with kv_policy and stop_token_ids.',
  );
});

test('what does not fit is the fault of the request while nothing runs', () => {
  const error = toApiError(new CapacityError('Too long.'), { isChecking: true });
  expect([error.status, error.code]).toEqual([400, 'context_length_exceeded']);
});

test("a fault of one's own does not show its inside", () => {
  const text = JSON.stringify(toApiError(new TypeError('secret')));
  expect(text).not.toContain('secret');
  expect(JSON.parse(text).error.type).toBe('server_error');
});

test('an answer has the shape and the headers', async () => {
  const details = { code: 'queue_full', headers: { 'retry-after': '3' } };
  const response = new ApiError(429, 'Full.', details).toResponse();
  expect([response.status, response.headers.get('retry-after')]).toEqual([429, '3']);
  expect(await response.json()).toEqual({
    error: { message: 'Full.', type: 'rate_limit_error', param: null, code: 'queue_full' },
  });
});
