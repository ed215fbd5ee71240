// Transcribes a file with the client in ./generated, once with words and once as a job, and prints both as JSON.
import { readFileSync } from "node:fs";
import { createJob, readOneJob, transcribe } from "./generated/sdk.gen.js";
import { createClient } from "./generated/client/index.js";

const [, , baseUrl = "", path = ""] = process.argv;
const client = createClient({ baseUrl });
const file = new File([readFileSync(path)], "recording.wav");

const verbose = await transcribe({
  client,
  body: { file, response_format: "verbose_json", "timestamp_granularities[]": ["word", "segment"] },
  throwOnError: true,
});
if (typeof verbose.data === "string" || !("segments" in verbose.data)) {
  throw new Error("the answer has no segments");
}
const submitted = await createJob({ client, body: { file }, headers: { Prefer: "wait=30" }, throwOnError: true });
const job = await readOneJob({ client, path: { job_id: submitted.data.id }, throwOnError: true });

console.log(
  JSON.stringify({
    task: verbose.data.task,
    segments: verbose.data.segments?.length,
    words: verbose.data.words?.length,
    text: verbose.data.text,
    job: job.data.transcript?.text,
  }),
);
