// Ask a server for models, an answer and a stream, with OpenAI's own client, and read what was decided:
//
//     npm install openai typescript @types/node && npx tsc --module nodenext ask.ts
//     WORKBENCH_URL=http://localhost:8000/v1 WORKBENCH_KEY=wb-... node ask.js [MODEL]
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.WORKBENCH_URL, apiKey: process.env.WORKBENCH_KEY });
const model = process.argv[2] ?? "auto";
const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: "user", content: "Name a prime over 100." }];

const models: string[] = [];
for await (const one of client.models.list()) models.push(one.id);
console.log("models", models);

const { data, response } = await client.chat.completions.create({ model, messages }).withResponse();
console.log("answered by", response.headers.get("x-workbench-answered-by"));
console.log("answer", data.choices[0]?.message.content);

let text = "";
for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
  text += chunk.choices[0]?.delta.content ?? "";
}
console.log("streamed", text);

const request_id = response.headers.get("x-request-id");
const scored = await client.post<{ quality: number }>("/feedback", { body: { request_id, quality: 1.0 } });
console.log("scored", scored.quality);

try {
  await client.chat.completions.create({ model: "none/none", messages });
} catch (error) {
  if (!(error instanceof OpenAI.NotFoundError)) throw error;
  console.log("refused", error.status, error.code);
}
