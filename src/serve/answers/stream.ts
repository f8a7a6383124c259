/** The events of a generation as an answer: chunk by chunk, or all at once. */
import { toApiError } from '../errors.js';
import type { Generation, SequenceEvent } from '../generation.js';
import type { Server } from '../server.js';
import { SSE_DONE, SSE_HEADERS, sseEvent, textStream } from '../sse.js';

/** How events become chunks. */
export interface ChunkSource {
  /** Chunks for an event. */
  chunks(event: SequenceEvent): Iterable<unknown>;
  /** Chunks after the last event. */
  lastChunks(): Iterable<unknown>;
}

/** Chunks as `data:` lines up to `[DONE]`; a failure is an error object, after which the stream ends. */
export function chunkResponse(
  server: Server,
  generation: Generation,
  source: ChunkSource,
): Response {
  return eventResponse(server, generation, chunkEvents(generation, source));
}

/** Server-sent events as a response, which gives the generation up when it is left. */
export function eventResponse(
  server: Server,
  generation: Generation,
  events: AsyncGenerator<string>,
): Response {
  const stream = textStream(events, server.settings.keepAliveMs, generation.stop);
  return new Response(stream, { headers: SSE_HEADERS });
}

async function* chunkEvents(generation: Generation, source: ChunkSource): AsyncGenerator<string> {
  try {
    for await (const event of generation.events) {
      for (const chunk of source.chunks(event)) yield sseEvent(chunk);
    }
    for (const chunk of source.lastChunks()) yield sseEvent(chunk);
  } catch (error) {
    yield sseEvent(toApiError(error));
    return;
  }
  yield SSE_DONE;
}
