/**
 * The view in the part of the address behind `#`, so that it can be shared. It holds what somebody
 * chose and typed; never the key, and nothing that the server answered.
 */
import type { Mode, SettingsView } from './settings.js';
import { readSettings, SIDES, writeSettings } from './settings.js';

export type Theme = 'auto' | 'light' | 'dark';

export interface View extends SettingsView {
  readonly theme: Theme;
  readonly prompt: string;
}

/** The view of an address; `hash` with or without its `#`. */
export function readAddress(hash: string): View {
  const params = new URLSearchParams(hash.replace(/^#/, ''));
  const theme = params.get('theme');
  return {
    mode: modeIn(params),
    theme: theme === 'light' || theme === 'dark' ? theme : 'auto',
    compares: params.get('compare') === '1',
    prompt: params.get('prompt') ?? '',
    changes: { a: readSettings(params, 'a'), b: readSettings(params, 'b') },
  };
}

const modeIn = (params: URLSearchParams): Mode =>
  params.get('mode') === 'chat' ? 'chat' : 'completion';

/** The address of a view, without the `#`; empty for the view that a new page has. */
export function writeAddress(view: View): string {
  const params = new URLSearchParams();
  if (view.mode === 'chat') params.set('mode', 'chat');
  if (view.theme !== 'auto') params.set('theme', view.theme);
  if (view.compares) params.set('compare', '1');
  for (const side of SIDES) writeSettings(params, side, view.changes[side]);
  if (view.prompt !== '') params.set('prompt', view.prompt);
  return params.toString();
}
