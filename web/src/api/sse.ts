/**
 * Server-sent events: from pieces of a stream, cut anywhere, to the data of each event.
 *
 * Only data is read; names and ids of events are not used by the servers this talks to. An event
 * that the stream ends within is dropped, as the standard says.
 * Source: HTML Standard, "Parsing an event stream".
 */

/** Collects text and gives the data of the events that it completes. */
export class EventParser {
  #rest = '';
  #data: string[] = [];
  #isFirst = true;
  /** Whether the text so far ended in a carriage return, whose line feed may still come. */
  #isHalf = false;

  /** Data of the events that end in this piece, in order. */
  push(piece: string): string[] {
    if (piece === '') return [];
    const isLeftOut = this.#isFirst
      ? piece.startsWith('\uFEFF')
      : this.#isHalf && piece[0] === '\n';
    this.#isFirst = false;
    this.#isHalf = piece.endsWith('\r');
    const lines = (this.#rest + piece.slice(isLeftOut ? 1 : 0)).split(/\r\n|\n|\r/);
    this.#rest = lines.pop()!;
    return lines.flatMap((line) => this.#readLine(line));
  }

  #readLine(line: string): string[] {
    if (line === '') {
      const data = this.#data.splice(0);
      return data.length > 0 ? [data.join('\n')] : [];
    }
    const [, field, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line)!;
    if (field === 'data') this.#data.push(value ?? '');
    return [];
  }
}

/** Data of the events of a response body; the body is cancelled if the reader stops early. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  const parser = new EventParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
