/** What went wrong at a NATS server: whether it passes, and what to tell a person. */
import { JetStreamApiCodes, JetStreamApiError } from '@nats-io/jetstream';
import { errors } from '@nats-io/transport-node';
import { CapacityError, LoopLMError, ServerError } from '../../../errors.js';

/** Codes of JetStream. Source: errors.json of nats-server. */
const WRONG_REVISION = [10_071, 10_164];
const FULL = [10_023, 10_047, 10_077, 10_002];

/** Whether a compare-and-set failed since the record is another one now. */
export const isConflict = (error: unknown) =>
  error instanceof JetStreamApiError && WRONG_REVISION.includes(error.code);

/** An answer that does not come any more. */
export class StalledError extends Error {}

/** Whether it is worth trying again: the server is away, starting, or slow. */
export function isPassing(error: unknown): boolean {
  if (error instanceof JetStreamApiError) return error.status === 503 && !FULL.includes(error.code);
  return (
    error instanceof StalledError ||
    error instanceof errors.TimeoutError ||
    error instanceof errors.ConnectionError ||
    (error instanceof errors.RequestError &&
      !(error.cause instanceof errors.PermissionViolationError)) ||
    error instanceof errors.NoRespondersError
  );
}

function lacksJetStream(error: unknown): boolean {
  if (error instanceof JetStreamApiError) {
    return error.code === JetStreamApiCodes.JetStreamNotEnabledForAccount;
  }
  return error instanceof Error && error.name === 'JetStreamNotEnabled'; // its class is not exported
}

/** An error of the server as one for people. */
export function explain(error: unknown, server: string): unknown {
  if (error instanceof LoopLMError) return error;
  if (lacksJetStream(error)) {
    return new ServerError(
      `The NATS server ${server} runs without JetStream, which keeps what machines share. Start it with --jetstream and --store_dir FOLDER.`,
      { cause: error },
    );
  }
  if (error instanceof JetStreamApiError && FULL.includes(error.code)) {
    return new CapacityError(
      `The store of the NATS server ${server} is full (${error.message}). Give it more room (max_file_store, or the limits of the account); then the same command goes on.`,
      { cause: error },
    );
  }
  return new ServerError(
    `The NATS server ${server} refuses: ${messageOf(error)}. Check its log and the permissions of this login ($JS, $KV, $O and looplm).`,
    { cause: error },
  );
}

/** The innermost message, which says most. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : messageOf(error.cause);
}
