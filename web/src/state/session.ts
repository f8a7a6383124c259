/**
 * What the page does: asks for the model, runs a prompt at one or two settings, stops.
 *
 * Tokens are handed on in groups, a few dozen times a second, however fast they come.
 */
import type { AnswerRequest, ChatMessage, Piece } from '../api/client.js';
import { fetchModel, streamAnswer } from '../api/client.js';
import { ProblemError } from '../api/problem.js';
import type { Model } from '../api/token.js';
import type { Action, Ending, State, Turn } from './state.js';
import { activeSides, isRunning, modelOf, reduce } from './state.js';
import type { Side } from './settings.js';
import { requestSettings } from './settings.js';

const GROUP_MS = 33;

export class Session {
  #state: State;
  #listener: (state: State) => void = () => {};
  #running: AbortController | undefined;

  constructor(state: State) {
    this.#state = state;
  }

  get state(): State {
    return this.#state;
  }

  /** Calls back with every new state. */
  listen(listener: (state: State) => void): void {
    this.#listener = listener;
  }

  readonly dispatch = (action: Action): void => {
    this.#state = reduce(this.#state, action);
    // turns that were cleared away need no answer
    if (!isRunning(this.#state)) this.#running?.abort();
    this.#listener(this.#state);
  };

  /** Asks the server for its model. */
  async connect(): Promise<void> {
    this.dispatch({ type: 'connection', connection: { status: 'connecting' } });
    try {
      const model = await fetchModel(this.#state.key);
      this.dispatch({ type: 'connection', connection: { status: 'ready', model } });
    } catch (error) {
      const problem = problemIn(error);
      this.dispatch({ type: 'connection', connection: { status: 'failed', problem } });
    }
  }

  /** Runs the prompt at the active sides; what runs already is left to end. */
  async run(prompt: string): Promise<void> {
    const model = modelOf(this.#state);
    if (!model || isRunning(this.#state) || prompt.trim() === '') return;
    const sides = activeSides(this.#state);
    this.dispatch({ type: 'start', sides, prompt });
    const running = new AbortController();
    this.#running = running;
    await Promise.all(sides.map((side) => this.#answer(side, model, running.signal)));
  }

  stop(): void {
    this.#running?.abort();
  }

  /** Streams one side's answer into its last turn. */
  async #answer(side: Side, model: Model, signal: AbortSignal): Promise<void> {
    let waiting: Piece[] = [];
    const flush = () => {
      if (waiting.length > 0) this.dispatch({ type: 'pieces', side, pieces: waiting });
      waiting = [];
    };
    const timer = setInterval(flush, GROUP_MS);
    let ending: Ending = { status: 'done' };
    try {
      const request = requestOf(model, this.#state, side);
      for await (const piece of streamAnswer(request, this.#state.key, signal)) waiting.push(piece);
    } catch (error) {
      ending = signal.aborted
        ? { status: 'stopped' }
        : { status: 'failed', problem: problemIn(error) };
    } finally {
      clearInterval(timer);
    }
    flush();
    this.dispatch({ type: 'end', side, ending });
    if (ending.status === 'failed' && ending.problem.kind === 'key') {
      this.dispatch({ type: 'connection', connection: ending });
    }
  }
}

/** The request of the last turn; in a chat, with the turns before it. */
function requestOf({ id }: Model, { turns: all, compares }: State, side: Side): AnswerRequest {
  const turns = all[side];
  const { mode, prompt, settings } = turns.at(-1)!;
  // what one side computed of the prompt would not be counted as run by the other
  const salt = compares ? { cache_salt: `${side}-${Math.random()}` } : {};
  const common = { model: id, settings: { ...requestSettings(settings), ...salt } };
  if (mode === 'completion') {
    return { ...common, kind: 'completion', prompt, echo: settings.prefill === 'scored' };
  }
  return { ...common, kind: 'chat', messages: turns.flatMap(messagesOf) };
}

/** What a turn adds to a conversation: an answer without its reasoning, and none that failed. */
function messagesOf(turn: Turn): ChatMessage[] {
  const user: ChatMessage = { role: 'user', content: turn.prompt };
  if (turn.status === 'running') return [user];
  const content = textOf(turn, 'answer');
  return content === '' ? [] : [user, { role: 'assistant', content }];
}

/** The text of one channel of a turn. */
export function textOf({ tokens }: Pick<Turn, 'tokens'>, channel: 'answer' | 'reasoning'): string {
  return tokens
    .filter((token) => token.channel === channel)
    .map(({ text }) => text)
    .join('');
}

function problemIn(error: unknown) {
  if (error instanceof ProblemError) return error.problem;
  return {
    kind: 'broken' as const,
    title: 'The page failed to read the answer.',
    detail: error instanceof Error ? error.message : String(error),
    todo: 'Reload the page; if it stays so, the server may be of another version.',
  };
}
