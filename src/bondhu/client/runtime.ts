// What the calls above share: ids, retries with jitter, errors. It needs `fetch`, which browsers and Node.js 18+ have.

/** Problem details of RFC 9457, as the server tells what is wrong and what to do. */
export class BondhuError extends Error {
  constructor(readonly problem: Problem) {
    super(`${problem.detail} ${problem.fix ?? ""}`.trim());
    this.name = "BondhuError";
  }
}

export interface Options {
  /** An API key; keep those that may do more than decide out of browsers. */
  key?: string;
  /** Milliseconds for one attempt; default 10 000. */
  timeout?: number;
  /** Attempts for one call; default 4. */
  attempts?: number;
  /** What your application does by itself while the service is away, in place of an error. */
  fallback?: (request: Request) => string;
}

const AGAIN = new Set([408, 425, 429, 502, 503, 504]);
const FIRST = 50; // milliseconds
const LONGEST = 2000; // milliseconds
const AWAY = "fallback-";

/** UUID version 7: sorts by time, so that feedback may come before its decision. */
export function newId(now: number = Date.now()): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let rest = now;
  for (let place = 5; place >= 0; place--) {
    bytes[place] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  bytes[6] = 0x70 | (bytes[6]! & 0x0f);
  bytes[8] = 0x80 | (bytes[8]! & 0x3f);
  const hex = Array.from(bytes, (each) => each.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** The same with an id of its own, so that a retry is never a second decision or a second feedback. */
function withId<T extends { id?: string | null }>(item: T): T {
  return item.id == null ? { ...item, id: newId() } : item;
}

/** A query string of what is given. */
function asked(query: Record<string, string | number | undefined>): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  return given.length ? "?" + new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString() : "";
}

class Calls {
  constructor(
    private readonly address: string,
    protected readonly options: Options = {},
  ) {
    if (!/^https?:\/\/[^/]/.test(address)) throw new TypeError(`The address is ${address}; such as http://localhost:8000.`);
  }

  protected async call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const attempts = Math.max(1, this.options.attempts ?? 4);
    for (let attempt = 0; ; attempt++) {
      let response: Response | undefined;
      let failure: unknown;
      try {
        response = await this.attempt(method, path, body);
        if (response.ok) return (response.status === 204 ? undefined : await response.json()) as T;
      } catch (error) {
        failure = error;
      }
      const last = attempt + 1 >= attempts || (response !== undefined && !AGAIN.has(response.status));
      if (last) throw response ? await told(response) : away(this.address, failure);
      const asked = Number(response?.headers.get("retry-after") ?? 0) * 1000 || 0;
      const drawn = Math.random() * Math.min(LONGEST, FIRST * 2 ** attempt);
      await new Promise((done) => setTimeout(done, Math.min(Math.max(drawn, asked), LONGEST)));
    }
  }

  private attempt(method: string, path: string, body: unknown): Promise<Response> {
    const headers: Record<string, string> = {};
    if (body !== undefined) headers["content-type"] = "application/json";
    if (this.options.key !== undefined) headers["x-api-key"] = this.options.key;
    return fetch(this.address.replace(/\/+$/, "") + path, {
      method,
      headers,
      signal: AbortSignal.timeout(this.options.timeout ?? 10_000),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }
}

async function told(response: Response): Promise<BondhuError> {
  try {
    const problem = (await response.json()) as Problem;
    if (typeof problem.detail === "string" && typeof problem.code === "string") return new BondhuError(problem);
  } catch {
    // not JSON: somebody else answered
  }
  const detail = `The server answered ${response.status} with something else.`;
  return new BondhuError({ title: "Not Bondhu", status: response.status, code: "not_bondhu", detail, fix: "Is the address right?" });
}

function away(address: string, failure: unknown): BondhuError {
  const detail = `${address} does not answer: ${failure instanceof Error ? failure.message : String(failure)}.`;
  return new BondhuError({ title: "Away", status: 503, code: "away", detail, fix: "Is the server up?" });
}

/** The service, with your application's own choice in its place while it is away. */
export class Client extends Bondhu {
  /** One decision. What the fallback decided has version "fallback": nobody logged it, nothing is learned from it. */
  async decide(request: Request): Promise<Answer> {
    const asked = withId(request);
    try {
      return await super.decide(asked);
    } catch (error) {
      const fallback = this.options.fallback;
      if (!fallback || !(error instanceof BondhuError) || (error.problem.status < 500 && error.problem.status !== 429)) throw error;
      return { id: AWAY + asked.id, action: fallback(asked), probability: 1, version: "fallback" };
    }
  }

  /** One feedback; about what the fallback decided there is nothing to say. */
  async feedback(said: Said): Promise<Heard> {
    if (said.decision_id.startsWith(AWAY)) return { id: said.id ?? null, decision_id: said.decision_id, status: "unheard" };
    return super.feedback(said);
  }
}
