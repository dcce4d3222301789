// A place in a sale's waiting room: taken, kept over reloads, and followed until it is this buyer's turn.

import { paths, post } from "./api.js";
import { orderPollMs } from "./schedule.js";
import { readEvents } from "./sse.js";

const FAILURES_MAX = 20;
// The news ends with a state; a POST would say it so.
const ENDED = { ok: false, status: 410, code: "ended", body: null, retryAfterMs: 0 };

const isTransient = (answer) => answer.status === 0 || answer.status === 429 || answer.status >= 500;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Reads the room's news until there is a pass, or nothing more to come; resolves with the last of them. */
async function listen({ sale, token, onPlace, signal }) {
  let last = null;
  const onEvent = ({ data }) => {
    last = JSON.parse(data);
    if (!last.is_lost) onPlace(last);
  };
  await readEvents(`${paths.room(sale)}/events`, { token, signal, onEvent, isOver: () => last?.pass });
  return last;
}

/**
 * Takes the buyer's place, or the one that `places` keeps (`read`, `write`, `clear`), and waits for the turn. Resolves with the news that
 * carries the pass, with the refusal that ended the wait (where it is that the sign-in has run out, the place is kept for
 * after the next), or with `null`: the room is too full for too long, or `signal` said to stop.
 */
export async function waitForTurn({ sale, token, places, onPlace, signal, ask = post, news = listen, pause = sleep }) {
  // A place is good for a minute: the newest counts, from an answer as from the news.
  const told = (now) => {
    if (now.place && !signal?.aborted) places.write(now.place);
    onPlace(now);
  };
  for (let failures = 0; failures < FAILURES_MAX && !signal?.aborted; ) {
    const answer = await ask(paths.room(sale), { place: places.read() ?? undefined }, { token, signal });
    if (answer.ok) {
      failures = 0;
      told(answer.body);
      if (answer.body.pass) return answer.body;
      const last = await news({ sale, token, onPlace: told, signal });
      if (last?.pass) return last;
      if (last?.state === "ended") return places.clear(), ENDED;
    } else {
      if (answer.status === 401) return answer;
      failures += 1;
      // A room that is not there any more is a closed one.
      if (!isTransient(answer)) return places.clear(), answer.status === 404 ? { ...answer, code: "waiting_room" } : answer;
      // Nor is one that is out of reach told as full.
      if (failures === FAILURES_MAX && answer.status === 0) return answer;
    }
    // Asking is being here: a place is kept for half a minute of silence.
    if (!signal?.aborted) await pause(orderPollMs({ failures: Math.min(failures, 3), retryAfterMs: answer.retryAfterMs, random: Math.random() }));
  }
  return null;
}
