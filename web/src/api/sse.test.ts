import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventParser, readEvents } from './sse.js';

const all = (pieces: readonly string[]) => {
  const parser = new EventParser();
  return pieces.flatMap((piece) => parser.push(piece));
};

/** A body that gives these bytes, in pieces of a size. */
function bodyOf(bytes: Uint8Array, size: number): ReadableStream<Uint8Array> {
  let place = 0;
  return new ReadableStream({
    pull(controller) {
      if (place >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(place, (place += size)));
    },
  });
}

async function collect<T>(events: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const event of events) found.push(event);
  return found;
}

describe('EventParser', () => {
  it('gives the data of one event for each empty line', () => {
    expect(all(['data: {"a":1}\n\ndata: [DONE]\n\n'])).toEqual(['{"a":1}', '[DONE]']);
  });

  it('joins the data lines of an event, and takes one space after the colon away', () => {
    expect(all(['data: a\ndata:  b\ndata:c\ndata\n\n'])).toEqual(['a\n b\nc\n']);
  });

  it('passes over comments, other fields, and events without data', () => {
    expect(all([': ping\n\nevent: x\nid: 7\nretry: 10\n\ndata: y\n\n'])).toEqual(['y']);
  });

  it('drops an event that the stream ends within', () => {
    expect(all(['data: whole\n\ndata: half\n'])).toEqual(['whole']);
  });

  it('reads every kind of line end, and a mark at the start', () => {
    expect(all(['\uFEFFdata: a\r\n\r\ndata: b\r\rdata: c\n\n'])).toEqual(['a', 'b', 'c']);
  });

  it('gives the same events wherever the text is cut', () => {
    const text =
      'data: one\r\ndata: two\r\n\r\n: comment\r\ndata: {"t":"Zoë\u2028"}\n\ndata: x\r\r';
    const whole = all([text]);
    expect(whole).toEqual(['one\ntwo', '{"t":"Zoë\u2028"}', 'x']);
    fc.assert(
      fc.property(fc.array(fc.nat(text.length), { maxLength: 12 }), (cuts) => {
        const places = [0, ...cuts.toSorted((a, b) => a - b), text.length];
        const pieces = places.slice(1).map((end, index) => text.slice(places[index], end));
        expect(all(pieces)).toEqual(whole);
      }),
      { seed: 9 },
    );
  });
});

describe('readEvents', () => {
  it('puts letters together that were cut within their bytes', async () => {
    const bytes = new TextEncoder().encode('data: é€😀\n\n');
    for (const size of [1, 2, 3, 100]) {
      expect(await collect(readEvents(bodyOf(bytes, size)))).toEqual(['é€😀']);
    }
  });

  it('cancels the body when its reader stops early', async () => {
    let isCancelled = false;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new TextEncoder().encode('data: x\n\n')),
      cancel: () => void (isCancelled = true),
    });
    for await (const data of readEvents(body)) {
      expect(data).toBe('x');
      break;
    }
    expect(isCancelled).toBe(true);
  });
});
