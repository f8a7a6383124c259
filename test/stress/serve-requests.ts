/** Random requests over HTTP, each a function of a seed and its index: what is asked, and how the client behaves. */
import { Draw } from '../draw.js';
import type { DrawnBody } from '../serve/draw-body.js';
import { drawBody } from '../serve/draw-body.js';

/** How a client behaves. */
export type Behaviour =
  | { readonly kind: 'reads' }
  /** Goes away so long after it has asked. */
  | { readonly kind: 'leaves'; readonly afterMs: number }
  /** Goes away after so many pieces of its stream. */
  | { readonly kind: 'leaves-stream'; readonly afterPieces: number }
  /** Takes its time between two pieces. */
  | { readonly kind: 'reads-slowly'; readonly pauseMs: number }
  /** Asks, reads nothing, and keeps its connection for a while. */
  | { readonly kind: 'half-open'; readonly forMs: number };

export interface ServeRequest extends DrawnBody {
  readonly index: number;
  readonly route: '/v1/completions' | '/v1/chat/completions';
  readonly stream: boolean;
  readonly behaviour: Behaviour;
}

const MAX_TOKENS = 60;

export function drawServeRequest(seed: number, index: number): ServeRequest {
  const draw = new Draw(seed, index);
  const drawn = drawBody(draw, MAX_TOKENS);
  const stream = draw.oneIn(2);
  return {
    ...drawn,
    index,
    route: draw.oneIn(3) ? '/v1/chat/completions' : '/v1/completions',
    stream,
    behaviour: drawBehaviour(draw, stream),
  };
}

/** Three in ten leave. */
function drawBehaviour(draw: Draw, stream: boolean): Behaviour {
  const chance = draw.below(20);
  if (chance < 3) return { kind: 'leaves', afterMs: draw.below(200) };
  if (chance < 6) {
    return stream
      ? { kind: 'leaves-stream', afterPieces: draw.below(20) }
      : { kind: 'leaves', afterMs: draw.below(50) };
  }
  if (chance === 6) return { kind: 'half-open', forMs: draw.below(300) };
  if (chance < 10 && stream) return { kind: 'reads-slowly', pauseMs: draw.below(20) };
  return { kind: 'reads' };
}
