// What the official client makes of the server, as one line of JSON for the test that runs this.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.WORKBENCH_URL, apiKey: process.env.WORKBENCH_KEY, maxRetries: 0 });
const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: "user", content: "Which weather?" }];
const tools: OpenAI.ChatCompletionTool[] = [
  { type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } },
];

const whole = await client.chat.completions.create({ model: "lab/tools", messages, tools });
const [call] = whole.choices[0]!.message.tool_calls!;
const streamed = await client.chat.completions.stream({ model: "lab/tools", messages, tools }).finalChatCompletion();
const used: OpenAI.ChatCompletionMessageParam[] = [
  ...messages,
  whole.choices[0]!.message,
  { role: "tool", tool_call_id: call!.id, content: "sunny" },
];
const last = await client.chat.completions.create({ model: "lab/tools", messages: used, tools });
const responded = await client.responses.create({ model: "lab/tools", input: "hello" });
const vectors = await client.embeddings.create({ model: "lab/embed", input: ["a", "abc"] });
const found = await client.models.retrieve("lab/tools");

async function refused(asked: Promise<unknown>): Promise<string> {
  try {
    await asked;
    return "answered";
  } catch (error) {
    return error instanceof OpenAI.APIError ? `${error.constructor.name} ${error.code}` : String(error);
  }
}

const stranger = new OpenAI({ baseURL: client.baseURL, apiKey: "wrong", maxRetries: 0 });
console.log(
  JSON.stringify({
    call: call!.type === "function" ? call!.function : null,
    streamed: streamed.choices[0]!.message.tool_calls![0],
    last: last.choices[0]!.message.content,
    responded: responded.output_text,
    vectors: vectors.data.map((one) => one.embedding),
    found: found.id,
    errors: [
      await refused(client.chat.completions.create({ model: "none/none", messages })),
      await refused(client.chat.completions.create({ model: "lab/tools", messages, n: 2 })),
      await refused(stranger.models.list()),
    ],
  }),
);
