/** Server-sent events as a client reads them. */

export interface SseEvent {
  readonly event: string | undefined;
  readonly data: string;
}

/** Events of an answer, as they come; comments are left out. */
export async function* sseEvents(response: Response): AsyncGenerator<SseEvent> {
  const decoder = new TextDecoder();
  let held = '';
  for await (const bytes of response.body as AsyncIterable<Uint8Array>) {
    held += decoder.decode(bytes, { stream: true });
    const blocks = held.split('\n\n');
    held = blocks.pop()!;
    for (const block of blocks) {
      const lines = block.split('\n').filter((line) => !line.startsWith(':'));
      if (lines.length === 0) continue;
      const field = (name: string) =>
        lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      yield { event: field('event'), data: field('data') ?? '' };
    }
  }
  if (held !== '') throw new Error(`the stream ended within an event: ${held}`);
}

/** All chunks of a stream that ends with `[DONE]`, with a pause after each. */
export async function chunksOf<T>(response: Response, pauseMs = 0): Promise<T[]> {
  const chunks: T[] = [];
  let isDone = false;
  for await (const { data } of sseEvents(response)) {
    if (isDone) throw new Error(`an event after [DONE]: ${data}`);
    if (data === '[DONE]') isDone = true;
    else chunks.push(JSON.parse(data) as T);
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  if (!isDone) throw new Error(`no [DONE] after ${JSON.stringify(chunks.at(-1))}`);
  return chunks;
}
