/** Asks for the key of the server. It stays in the memory of this page. */
import { useState } from 'preact/hooks';
import type { Session } from '../state/session.js';

export function KeyForm({ session }: { readonly session: Session }) {
  const [key, setKey] = useState('');
  return (
    <form
      class="key-form"
      onSubmit={(event) => {
        event.preventDefault();
        session.dispatch({ type: 'key', key: key.trim() });
        void session.connect();
      }}
    >
      <label for="key">API key</label>
      <input
        id="key"
        type="password"
        autocomplete="off"
        value={key}
        onInput={({ currentTarget }) => setKey(currentTarget.value)}
      />
      <button class="main-action" disabled={key.trim() === ''}>
        Continue
      </button>
    </form>
  );
}
