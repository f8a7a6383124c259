/** Where the prompt is written and run, with examples to try. */
import type { Model } from '../api/token.js';
import { isRunning } from '../state/state.js';
import type { ModelProps } from './page-props.js';

const SHOWN_EXAMPLES = 4;

export function Composer({
  session,
  state,
  model,
  isEmpty,
}: ModelProps & { readonly isEmpty: boolean }) {
  const isChat = state.mode === 'chat';
  const runs = isRunning(state);
  const write = (prompt: string) => session.dispatch({ type: 'view', view: { prompt } });
  const run = () => {
    if (isRunning(session.state)) return;
    const { prompt } = session.state;
    void session.run(prompt);
    if (isChat && prompt.trim() !== '') write('');
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' || event.isComposing) return;
    const isSend = isChat ? !event.shiftKey : event.ctrlKey || event.metaKey;
    if (!isSend) return;
    event.preventDefault();
    run();
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        if (isRunning(session.state)) session.stop();
        else run();
      }}
    >
      <label class="unseen-text" for="prompt">
        {isChat ? 'Message' : 'Prompt'}
      </label>
      <div class="composer-box">
        <textarea
          id="prompt"
          rows={isChat ? 1 : 2}
          value={state.prompt}
          placeholder={isChat ? 'Say something…' : 'Write a prompt…'}
          aria-describedby="prompt-hint"
          spellcheck={false}
          onInput={({ currentTarget }) => write(currentTarget.value)}
          onKeyDown={onKeyDown}
        />
        <div class="composer-foot">
          <p id="prompt-hint" class="about keys">
            {isChat ? 'Enter sends, Shift + Enter begins a line' : 'Ctrl + Enter runs'}
          </p>
          {!isEmpty && !runs && (
            <button type="button" class="quiet" onClick={() => session.dispatch({ type: 'clear' })}>
              Clear
            </button>
          )}
          <button class="main-action" disabled={!runs && state.prompt.trim() === ''}>
            {runs ? 'Stop' : isChat ? 'Send' : 'Run'}
          </button>
        </div>
      </div>
      {(isEmpty || !isChat) && (
        <Examples
          model={model}
          isDisabled={runs}
          onPick={(example) => {
            write(example);
            run();
          }}
        />
      )}
    </form>
  );
}

function Examples({
  model,
  isDisabled,
  onPick,
}: {
  readonly model: Model;
  readonly isDisabled: boolean;
  readonly onPick: (example: string) => void;
}) {
  if (model.examples.length === 0) return null;
  return (
    <ul class="examples" aria-label="Examples">
      {model.examples.slice(0, SHOWN_EXAMPLES).map((example) => (
        <li key={example}>
          <button type="button" disabled={isDisabled} onClick={() => onPick(example)}>
            {example}
          </button>
        </li>
      ))}
    </ul>
  );
}
