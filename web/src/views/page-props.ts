/** What most parts of the page are given. */
import type { Model } from '../api/token.js';
import type { Session } from '../state/session.js';
import type { State } from '../state/state.js';

export interface PageProps {
  readonly session: Session;
  readonly state: State;
}

/** Of parts that are only shown when there is a model. */
export interface ModelProps extends PageProps {
  readonly model: Model;
}
