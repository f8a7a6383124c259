/** Starts the page: the view of its address, a session, and the model of the server. */
import { render } from 'preact';
import './styles/index.css';
import { readAddress, writeAddress } from './state/address.js';
import { Session } from './state/session.js';
import { initialState } from './state/state.js';
import { App } from './views/app.js';
import { showDepthColors, showMarkColors, showTheme } from './views/theme.js';

/** The address follows the view this long after the last change: browsers limit how often it may. */
const ADDRESS_MS = 250;

const session = new Session(initialState(readAddress(location.hash)));
const root = document.getElementById('app')!;
let timer: ReturnType<typeof setTimeout> | undefined;

session.listen((state) => {
  render(<App session={session} state={state} />, root);
  showTheme(state.theme);
  if (state.connection.status === 'ready') showDepthColors(state.connection.model.numLoops);
  clearTimeout(timer);
  timer = setTimeout(() => {
    const hash = writeAddress(session.state);
    const { pathname, search } = location;
    if (hash !== location.hash.slice(1)) {
      history.replaceState(null, '', pathname + search + (hash === '' ? '' : `#${hash}`));
    }
  }, ADDRESS_MS);
});

addEventListener('hashchange', () => {
  session.dispatch({ type: 'view', view: readAddress(location.hash) });
});

showMarkColors();
void session.connect();
