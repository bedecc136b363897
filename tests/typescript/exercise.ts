// What an application does with the generated client, against the server whose address is in BONDHU.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { BondhuError, Client, newId, type Request } from "./bondhu.js";

const address = process.env["BONDHU"] ?? "";
const context: Request["context"] = { mood: "happy", age: 30 };
const client = new Client(address, { attempts: 3 });

// a decision, and a retry of it
const answer = await client.decide({ context, id: "from-node", user: "ann" });
assert.equal(answer.action, "blue");
assert.deepEqual(await client.decide({ context, id: "from-node", user: "ann" }), answer);

// feedback, one and many
assert.equal((await client.feedback({ decision_id: answer.id, signal: "like" })).status, "stored");
const { decisions } = await client.decideBatch({ requests: [{ context }, { context }] });
assert.equal(new Set(decisions.map((each) => each.id)).size, 2);
const { results } = await client.feedbackBatch({ feedback: decisions.map((each) => ({ decision_id: each.id, signal: "like" })) });
assert.deepEqual(results.map((each) => each.status), ["stored", "stored"]);

// the audit record
const audit = await client.decision("from-node");
assert.equal(audit.decision["action"], "blue");
assert.equal(audit.feedback.length, 1);

// what is wrong, and what to do
await assert.rejects(
  // @ts-expect-error  the compiler knows the declared values
  client.decide({ context: { mood: "hapy", age: 30 } }),
  (error: unknown) => error instanceof BondhuError && error.problem.field === "mood" && error.problem.fix === "Did you mean 'happy'?",
);

// an answer that is lost on its way is asked for again, and is the same decision
const busy: number[] = [];
const proxy = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", async () => {
    const headers = { "content-type": "application/json" };
    const passed = await fetch(address + request.url, { method: "POST", headers, body: Buffer.concat(chunks) });
    const body = await passed.text();
    busy.push(passed.status);
    if (busy.length === 1) request.socket.destroy();
    else response.writeHead(passed.status, headers).end(body);
  });
});
await new Promise<void>((done) => proxy.listen(0, "127.0.0.1", done));
const port = (proxy.address() as AddressInfo).port;
const retried = await new Client(`http://127.0.0.1:${port}/`).decide({ context });
assert.deepEqual(busy, [200, 200]);
assert.equal((await client.decision(retried.id)).decision["id"], retried.id);
proxy.close();
proxy.closeAllConnections();

// the application's own choice while nobody answers
const alone = new Client(`http://127.0.0.1:${port}`, { attempts: 2, fallback: () => "red" });
const own = await alone.decide({ context });
assert.deepEqual([own.action, own.version], ["red", "fallback"]);
assert.equal((await alone.feedback({ decision_id: own.id, signal: "like" })).status, "unheard");
await assert.rejects(new Client(`http://127.0.0.1:${port}`, { attempts: 1 }).decide({ context }), /does not answer/);

// ids sort by time
assert.ok(newId(1_000) < newId(2_000));
assert.match(newId(), /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
console.log("exercised");
