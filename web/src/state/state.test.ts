import { describe, expect, it } from 'vitest';
import { readAddress } from './address.js';
import type { Action, State } from './state.js';
import { initialState, isRunning, reduce, tokenAt } from './state.js';
import { MODEL, TOKEN } from './test-model.js';

const ready: State = {
  ...initialState(readAddress('')),
  connection: { status: 'ready', model: MODEL },
};

const after = (state: State, ...actions: readonly Action[]) => actions.reduce(reduce, state);

const started: Action = { type: 'start', sides: ['a', 'b'], prompt: 'p' };
const arrived: Action = {
  type: 'pieces',
  side: 'b',
  pieces: [{ kind: 'tokens', tokens: [TOKEN, TOKEN] }],
};

describe('reduce', () => {
  it('gives tokens to the running turn of their side alone', () => {
    const { turns } = after(ready, started, arrived);
    expect(turns.a[0]!.tokens).toEqual([]);
    expect(turns.b[0]!.tokens).toEqual([TOKEN, TOKEN]);
  });

  it('runs until every side has ended', () => {
    const half = after(ready, started, { type: 'end', side: 'a', ending: { status: 'done' } });
    expect(isRunning(half)).toBe(true);
    const done = after(half, { type: 'end', side: 'b', ending: { status: 'stopped' } });
    expect(isRunning(done)).toBe(false);
    expect([done.turns.a[0]!.status, done.turns.b[0]!.status]).toEqual(['done', 'stopped']);
  });

  it('lets nothing into a turn that has ended', () => {
    const done = after(ready, started, { type: 'end', side: 'b', ending: { status: 'stopped' } });
    expect(after(done, arrived)).toBe(done);
  });

  it('keeps the settings of a turn when they are changed later', () => {
    const change: Action = { type: 'setting', side: 'a', patch: { exitPolicy: 'full' } };
    expect(after(ready, started, change).turns.a[0]!.settings.exitPolicy).toBe('cdf:0.2');
  });

  it('drops turns with the way of asking, and those of side b with the comparison', () => {
    const done = after(ready, started, arrived);
    const alone = after(done, { type: 'view', view: { compares: true } });
    expect(alone.turns.a).toHaveLength(1);
    expect(alone.turns.b).toHaveLength(0);
    const chat = after(done, { type: 'view', view: { mode: 'chat' } });
    expect(chat.turns).toEqual({ a: [], b: [] });
    const typed = after(done, { type: 'view', view: { prompt: 'x' } });
    expect(typed.turns).toBe(done.turns);
  });

  it('completes where an address asks for a chat that the model has no template for', () => {
    const model = { ...MODEL, hasChatTemplate: false };
    const connection = { status: 'ready', model } as const;
    const asked = initialState(readAddress('#mode=chat'));
    const opened = after(asked, { type: 'connection', connection });
    expect(opened.mode).toBe('completion');
    expect(after(opened, { type: 'view', view: { mode: 'chat' } }).mode).toBe('completion');
  });

  it('sets side a when there is no other', () => {
    const edited = after(
      ready,
      { type: 'view', view: { compares: true } },
      { type: 'edit', side: 'b' },
    );
    expect(edited.edited).toBe('b');
    expect(after(edited, { type: 'view', view: { compares: false } }).edited).toBe('a');
  });

  it('finds the selected token, and forgets it when a prompt starts', () => {
    const place = { side: 'b', turn: 0, token: 1 } as const;
    const selected = after(ready, started, arrived, { type: 'select', place });
    expect(tokenAt(selected, selected.selected!)).toBe(TOKEN);
    expect(after(selected, started).selected).toBeUndefined();
  });
});
