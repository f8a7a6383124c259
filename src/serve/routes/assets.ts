/** The playground: built files, served from memory under rules that let nothing else be loaded. */
import { ApiError } from '../errors.js';
import type { Server } from '../server.js';

/** Only what this server serves may run or be shown; data: is for small pictures in style sheets. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** @throws ApiError 404 if there is no such file */
export function assetResponse({ settings }: Server, path: string): Response {
  const asset = settings.assets.get(path === '/' ? '/index.html' : path);
  if (!asset) {
    throw new ApiError(404, `There is nothing at ${path}. See /openapi.json for what there is.`, {
      code: 'not_found',
    });
  }
  return new Response(asset.body, {
    headers: {
      'content-type': asset.contentType,
      'content-security-policy': CONTENT_SECURITY_POLICY,
      'cross-origin-opener-policy': 'same-origin',
      'cache-control': 'no-cache',
    },
  });
}
