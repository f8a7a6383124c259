/**
 * Events of some requests on their way to one reader.
 *
 * The writer never waits; it asks `unread` and lets sequences rest whose reader is behind, so that
 * nothing is computed far ahead and nothing is piled up.
 */
import type { EngineEvent } from './request.js';

export class EventQueue {
  readonly #events: EngineEvent[] = [];
  readonly #onRead: () => void;
  #numOpen: number;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  /**
   * @param numOpen - requests that will end
   * @param onRead - called whenever an event was taken
   */
  constructor(numOpen: number, onRead: () => void) {
    this.#numOpen = numOpen;
    this.#onRead = onRead;
  }

  /** Events of a request that nobody has taken. */
  unread(requestIndex: number): number {
    return this.#events.filter((event) => event.requestIndex === requestIndex).length;
  }

  push(event: EngineEvent): void {
    this.#events.push(event);
    if (event.kind === 'finish') this.#numOpen--;
    this.#notify();
  }

  /** A request ends without a finish event. */
  fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new Error(String(error));
    this.#numOpen--;
    this.#notify();
  }

  /**
   * All events, in order, until every request has ended.
   *
   * @throws what the first request failed with, once all have ended
   */
  async *read(): AsyncGenerator<EngineEvent> {
    for (;;) {
      const event = this.#events.shift();
      if (event) {
        yield event;
        this.#onRead();
      } else if (this.#numOpen > 0) {
        await new Promise<void>((resolve) => (this.#wake = resolve));
      } else if (this.#failure === undefined) {
        return;
      } else {
        throw this.#failure;
      }
    }
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
