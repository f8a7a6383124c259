/**
 * All that the page shows, as one value, and every way in which it changes.
 *
 * The one idea: `reduce` is a pure function; requests live in `session.ts` and speak through it.
 * Each side has turns of its own, so the same prompt can be run at two settings.
 */
import type { Piece } from '../api/client.js';
import type { Problem } from '../api/problem.js';
import type { Model, Token, Usage } from '../api/token.js';
import type { View } from './address.js';
import type { Mode, Settings, Side } from './settings.js';
import { changed, settingsOf, SIDES } from './settings.js';

/** A prompt and what came of it. */
export interface Turn {
  readonly mode: Mode;
  readonly prompt: string;
  readonly settings: Settings;
  /** Of the prompt, if it was scored, then of the answer. */
  readonly tokens: readonly Token[];
  readonly status: 'running' | 'done' | 'stopped' | 'failed';
  readonly finishReason?: string;
  readonly usage?: Usage;
  readonly problem?: Problem;
}

/** Where a token is: in a turn of a side. */
export interface Place {
  readonly side: Side;
  readonly turn: number;
  readonly token: number;
}

export type Connection =
  | { readonly status: 'connecting' }
  | { readonly status: 'ready'; readonly model: Model }
  | { readonly status: 'failed'; readonly problem: Problem };

export interface State extends View {
  readonly connection: Connection;
  readonly key: string;
  readonly turns: Readonly<Record<Side, readonly Turn[]>>;
  /** The side whose settings are being changed. */
  readonly edited: Side;
  readonly selected: Place | undefined;
}

export type Action =
  | { readonly type: 'view'; readonly view: Partial<View> }
  | { readonly type: 'connection'; readonly connection: Connection }
  | { readonly type: 'key'; readonly key: string }
  | { readonly type: 'setting'; readonly side: Side; readonly patch: Partial<Settings> }
  | { readonly type: 'reset'; readonly side: Side }
  | { readonly type: 'edit'; readonly side: Side }
  | { readonly type: 'start'; readonly sides: readonly Side[]; readonly prompt: string }
  | { readonly type: 'pieces'; readonly side: Side; readonly pieces: readonly Piece[] }
  | { readonly type: 'end'; readonly side: Side; readonly ending: Ending }
  | { readonly type: 'select'; readonly place: Place | undefined }
  | { readonly type: 'clear' };

export type Ending =
  | { readonly status: 'done' | 'stopped' }
  | { readonly status: 'failed'; readonly problem: Problem };

export function initialState(view: View): State {
  return {
    ...view,
    connection: { status: 'connecting' },
    key: '',
    turns: { a: [], b: [] },
    edited: 'a',
    selected: undefined,
  };
}

/** The sides that a prompt runs at. */
export function activeSides({ compares }: Pick<View, 'compares'>): readonly Side[] {
  return compares ? SIDES : ['a'];
}

export function modelOf({ connection }: State): Model | undefined {
  return connection.status === 'ready' ? connection.model : undefined;
}

export function isRunning({ turns }: State): boolean {
  return SIDES.some((side) => turns[side].at(-1)?.status === 'running');
}

export function tokenAt({ turns }: State, place: Place): Token | undefined {
  return turns[place.side][place.turn]?.tokens[place.token];
}

export function reduce(state: State, action: Action): State {
  switch (action.type) {
    case 'view':
      return viewed(state, action.view);
    case 'connection':
      return viewed({ ...state, connection: action.connection }, {});
    case 'key':
      return { ...state, key: action.key };
    case 'setting': {
      const model = modelOf(state);
      if (!model) return state;
      const before = state.changes[action.side];
      const settings = settingsOf(model, action.side, state);
      const after = changed(model, settings, before, action.patch);
      return { ...state, changes: { ...state.changes, [action.side]: after } };
    }
    case 'reset':
      return { ...state, changes: { ...state.changes, [action.side]: {} } };
    case 'edit':
      return { ...state, edited: action.side };
    case 'start':
      return started(state, action.sides, action.prompt);
    case 'pieces':
      return withTurn(state, action.side, (turn) => action.pieces.reduce(grown, turn));
    case 'end':
      return withTurn(state, action.side, (turn) => ({ ...turn, ...action.ending }));
    case 'select':
      return { ...state, selected: action.place };
    case 'clear':
      return { ...state, turns: { a: [], b: [] }, selected: undefined };
    default:
      return action satisfies never;
  }
}

/** Another way of asking starts anew: turns of a chat and completions do not mix. */
function viewed(state: State, view: Partial<View>): State {
  const asked = { ...state, ...view };
  const canChat = modelOf(state)?.hasChatTemplate ?? true;
  const next: State = { ...asked, mode: canChat ? asked.mode : 'completion' };
  const edited = next.compares ? next.edited : 'a';
  if (next.mode === state.mode && next.compares === state.compares) return { ...next, edited };
  const isOtherMode = next.mode !== state.mode;
  const turns = { a: isOtherMode ? [] : state.turns.a, b: [] };
  return { ...next, edited, turns, selected: undefined };
}

function started(state: State, sides: readonly Side[], prompt: string): State {
  const model = modelOf(state);
  if (!model) return state;
  const turns = { ...state.turns };
  for (const side of sides) {
    const settings = settingsOf(model, side, state);
    turns[side] = [
      ...turns[side],
      { mode: state.mode, prompt, settings, tokens: [], status: 'running' },
    ];
  }
  return { ...state, turns, selected: undefined };
}

function withTurn(state: State, side: Side, change: (turn: Turn) => Turn): State {
  const turns = state.turns[side];
  const last = turns.at(-1);
  if (last?.status !== 'running') return state;
  return { ...state, turns: { ...state.turns, [side]: [...turns.slice(0, -1), change(last)] } };
}

function grown(turn: Turn, piece: Piece): Turn {
  switch (piece.kind) {
    case 'tokens':
      return { ...turn, tokens: [...turn.tokens, ...piece.tokens] };
    case 'finish':
      return { ...turn, finishReason: piece.reason };
    case 'usage':
      return { ...turn, usage: piece.usage };
    default:
      return piece satisfies never;
  }
}
