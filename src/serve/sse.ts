/**
 * Server-sent events with backpressure: nothing is made that the reader has not asked for, and a comment
 * goes out when nothing else does. Who does not read at all is the business of who listens.
 */

export const SSE_HEADERS: Readonly<Record<string, string>> = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  // proxies such as nginx would hold events back
  'x-accel-buffering': 'no',
};

const KEEP_ALIVE = ': keep-alive\n\n';

/** One event; without a name the default one. */
export function sseEvent(data: unknown, name?: string): string {
  const line = typeof data === 'string' ? data : JSON.stringify(data);
  return `${name === undefined ? '' : `event: ${name}\n`}data: ${line}\n\n`;
}

/** What OpenAI's clients know as the end of a stream. */
export const SSE_DONE = sseEvent('[DONE]');

/**
 * A stream of texts as bytes, each made when the reader has taken the one before.
 *
 * @param keepAliveMs - silence after which a comment is sent
 * @param stop - is called when the reader has gone; the events should then end.
 */
export function textStream(
  events: AsyncGenerator<string>,
  keepAliveMs: number,
  stop: (reason: Error) => void,
): ReadableStream<Uint8Array> {
  const utf8 = new TextEncoder();
  let next: Promise<IteratorResult<string>> | undefined;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      let silence: ReturnType<typeof setTimeout> | undefined;
      const quiet = new Promise<undefined>((resolve) => {
        silence = setTimeout(() => resolve(undefined), keepAliveMs);
      });
      next ??= events.next();
      const result = await Promise.race([next, quiet]);
      clearTimeout(silence);
      if (result) next = undefined;
      if (result?.done) controller.close();
      else controller.enqueue(utf8.encode(result ? result.value : KEEP_ALIVE));
    },
    cancel() {
      stop(new Error('The reader has gone.'));
      void events.return(undefined).catch(() => {});
    },
  });
}
