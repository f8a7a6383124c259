/** Name, model, and the three choices of the whole page: way of asking, one or two sides, theme. */
import type { Theme } from '../state/address.js';
import type { Mode } from '../state/settings.js';
import { modelOf } from '../state/state.js';
import type { PageProps } from './page-props.js';
import { Segments } from './fields.js';

export function Header({ session, state }: PageProps) {
  const model = modelOf(state);
  const view = (change: Partial<typeof state>) => session.dispatch({ type: 'view', view: change });
  return (
    <header class="header">
      <a class="skip" href="#prompt" onClick={focusPrompt}>
        Skip to the prompt
      </a>
      <h1 class="brand">
        <Mark />
        <span>looplm</span>
      </h1>
      {model && (
        <p class="model">
          <b>{model.id}</b> <span>{model.numLoops} loops</span>
        </p>
      )}
      {model && (
        <div class="header-choices">
          <Segments<Mode>
            legend="Way of asking"
            name="mode"
            value={state.mode}
            options={[
              { value: 'completion', label: 'Completion' },
              {
                value: 'chat',
                label: 'Chat',
                ...(model.hasChatTemplate ? {} : { disabled: 'This model has no chat template.' }),
              },
            ]}
            onChange={(mode) => view({ mode })}
          />
          <label class="switch">
            <input
              type="checkbox"
              role="switch"
              checked={state.compares}
              onChange={() => view({ compares: !state.compares })}
            />
            <span>Compare</span>
          </label>
        </div>
      )}
      <div class="theme">
        <Segments<Theme>
          legend="Theme"
          name="theme"
          value={state.theme}
          options={[
            { value: 'auto', label: 'Theme of the system', icon: <Icon d={HALF} /> },
            { value: 'light', label: 'Light', icon: <Icon d={SUN} /> },
            { value: 'dark', label: 'Dark', icon: <Icon d={MOON} /> },
          ]}
          onChange={(theme) => view({ theme })}
        />
      </div>
    </header>
  );
}

const HALF = 'M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12';
const SUN =
  'M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1';
const MOON = 'M13 9.5A5.5 5.5 0 0 1 6.5 3 5.5 5.5 0 1 0 13 9.5z';

function Icon({ d }: { readonly d: string }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={d} />
    </svg>
  );
}

// a real jump would write over the view in the address
function focusPrompt(event: Event) {
  event.preventDefault();
  document.getElementById('prompt')?.focus();
}

/** Four loops, each reaching fewer tokens: the sign of looplm. */
function Mark() {
  return (
    <svg class="mark" viewBox="0 0 28 24" aria-hidden="true">
      {[26, 19, 12, 5].map((width, index) => (
        <path class={`mark-${index + 1}`} d={`M1 ${3 + 6 * index}h${width}`} />
      ))}
    </svg>
  );
}
