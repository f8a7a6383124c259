/**
 * The error classes of looplm. Every message reads: what was got, what is allowed, what to do.
 *
 * A `LoopLMError` is a mistake that a user can mend (a flag, a file, a prompt); the command line
 * prints its message in one line and exits with 2. Anything else that is thrown is a bug in looplm.
 */

export type ErrorCode =
  | 'config'
  | 'shape'
  | 'checkpoint'
  | 'capacity'
  | 'unsupported'
  | 'disposed'
  | 'request'
  | 'file'
  | 'download'
  | 'server';

/** Base of every error that a user's input can cause. `code` is stable and machine-readable. */
export class LoopLMError extends Error {
  override readonly name: string = 'LoopLMError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** A setting, flag or config field has a value that is not allowed. */
export class ConfigError extends LoopLMError {
  override readonly name = 'ConfigError';
  /** The first that is wrong. */
  readonly field: string;
  /** All that is wrong, a sentence each. */
  readonly faults: readonly string[];

  constructor(
    field: string,
    message: string,
    options?: { readonly cause?: unknown; readonly faults?: readonly string[] },
  ) {
    super('config', message, options);
    this.field = field;
    this.faults = options?.faults ?? [message];
  }
}

/** A tensor has another shape than the operation or file needs. */
export class ShapeError extends LoopLMError {
  override readonly name = 'ShapeError';

  constructor(message: string, options?: { cause?: unknown }) {
    super('shape', message, options);
  }
}

/** A checkpoint file is damaged, incomplete or does not belong to its config. */
export class CheckpointError extends LoopLMError {
  override readonly name = 'CheckpointError';

  constructor(message: string, options?: { cause?: unknown }) {
    super('checkpoint', message, options);
  }
}

/** Something does not fit: context length, memory, batch size. */
export class CapacityError extends LoopLMError {
  override readonly name = 'CapacityError';

  constructor(message: string, options?: { cause?: unknown }) {
    super('capacity', message, options);
  }
}

/** The combination is valid but this device or version cannot do it. */
export class UnsupportedError extends LoopLMError {
  override readonly name = 'UnsupportedError';

  constructor(message: string, options?: { cause?: unknown }) {
    super('unsupported', message, options);
  }
}

/** An object was used after `dispose()`. */
export class DisposedError extends LoopLMError {
  override readonly name = 'DisposedError';

  constructor(what: string, remedy = 'create a new one', options?: { cause?: unknown }) {
    super('disposed', `${what} was used after dispose(); ${remedy}.`, options);
  }
}

/** A prompt or generation request is not valid. */
export class RequestError extends LoopLMError {
  override readonly name = 'RequestError';

  constructor(message: string, options?: { cause?: unknown }) {
    super('request', message, options);
  }
}

/** A file or folder is missing, unreadable or cannot be written. */
export class FileError extends LoopLMError {
  override readonly name = 'FileError';
  readonly path: string;

  constructor(path: string, message: string, options?: { cause?: unknown }) {
    super('file', message, options);
    this.path = path;
  }
}

/** A model cannot be fetched: no connection, no access, or other bytes than were announced. */
export class DownloadError extends LoopLMError {
  override readonly name = 'DownloadError';

  constructor(message: string, options?: { cause?: unknown }) {
    super('download', message, options);
  }
}

/** A server that machines share cannot be reached, or refuses. */
export class ServerError extends LoopLMError {
  override readonly name = 'ServerError';

  constructor(message: string, options?: { cause?: unknown }) {
    super('server', message, options);
  }
}

/** States an internal truth; a failure is a bug in looplm, not in the user's input. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`Internal error (please report it): ${message}`);
}
