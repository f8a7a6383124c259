/** The page: header, settings, the prompt with its answers, and what is to be read of them. */
import { Composer } from './composer.js';
import { Conversation } from './conversation.js';
import { Header } from './header.js';
import { Intro } from './intro.js';
import { KeyForm } from './key-form.js';
import { Announcer } from './announcer.js';
import { ProblemNotice } from './problem-notice.js';
import { closeDetail, Reading } from './reading.js';
import type { ModelProps, PageProps } from './page-props.js';
import { SettingsPanel } from './settings-panel.js';
import { SIDES } from '../state/settings.js';

export function App({ session, state }: PageProps) {
  const { connection } = state;
  return (
    <>
      <Header session={session} state={state} />
      {connection.status === 'ready' && (
        <Playground session={session} state={state} model={connection.model} />
      )}
      {connection.status === 'connecting' && (
        <p class="waiting">Asking the server for its model…</p>
      )}
      {connection.status === 'failed' && (
        <main class="gate-page">
          <ProblemNotice
            problem={connection.problem}
            isCalm={connection.problem.kind === 'key' && state.key === ''}
            {...(connection.problem.kind === 'key'
              ? {}
              : { onRetry: () => void session.connect() })}
          />
          {connection.problem.kind === 'key' && <KeyForm session={session} />}
        </main>
      )}
      <Announcer state={state} />
    </>
  );
}

function Playground({ session, state, model }: ModelProps) {
  const isEmpty = SIDES.every((side) => state.turns[side].length === 0);
  const parts = { session, state, model };
  return (
    <main
      class={`layout ${state.compares ? 'compares' : ''}`}
      onKeyDown={({ key }) => {
        if (key === 'Escape' && state.selected) closeDetail(session);
      }}
    >
      <SettingsPanel {...parts} />
      <section class={`work ${state.mode}`} aria-label="Prompt and answer">
        {isEmpty && <Intro model={model} mode={state.mode} />}
        {state.mode === 'completion' && <Composer {...parts} isEmpty={isEmpty} />}
        {!isEmpty && <Conversation {...parts} />}
        {state.mode === 'chat' && <Composer {...parts} isEmpty={isEmpty} />}
      </section>
      <Reading {...parts} />
    </main>
  );
}
