/** What an empty page says: what this is, and how to read it. */
import type { Model } from '../api/token.js';
import type { Mode } from '../state/settings.js';
import { Legend } from './legend.js';

export function Intro({ model, mode }: { readonly model: Model; readonly mode: Mode }) {
  return (
    <div class="intro">
      <h2>How deep does each token go?</h2>
      <p>
        This model runs the same layers up to {model.numLoops} times for every token
        {model.hasExitGate ? ', and a gate decides when a token is done' : ''}. Easy tokens stop
        early, hard ones think longer. {mode === 'chat' ? 'Say something' : 'Run a prompt'}, and see
        how far each one went; select a token to see what every loop would have said.
      </p>
      <Legend numLoops={model.numLoops} />
    </div>
  );
}
