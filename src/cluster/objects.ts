/**
 * Objects whose names end in the digest of their bytes: storing one twice is storing it once, and what is
 * read is what was meant.
 */
import type { SharedStore } from './store.js';

const DIGEST = /-([0-9a-f]{64})$/;

/** Stores bytes under a kind and their digest; returns the name. */
export async function putByDigest(
  store: SharedStore,
  kind: string,
  bytes: Uint8Array,
): Promise<string> {
  const name = `${kind}-${await sha256(bytes)}`;
  await store.putObject(name, bytes);
  return name;
}

/** The bytes of that name; undefined if there are none, or they are others. */
export async function getByDigest(
  store: SharedStore,
  name: string,
): Promise<Uint8Array | undefined> {
  const bytes = await store.getObject(name);
  const [, digest] = DIGEST.exec(name) ?? [];
  return bytes && (await sha256(bytes)) === digest ? bytes : undefined;
}

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
