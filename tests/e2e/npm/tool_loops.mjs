// Tool loops with the package openai. Prints the arguments that the tool got, the answer, and what was streamed.
import OpenAI from "openai";

const [api, baseURL, apiKey, model, question, secret] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const called = [];
let streamed = "";

const tool = {
  name: "reveal",
  description: "What is in a drawer.",
  parameters: {
    type: "object",
    properties: { drawer: { type: "string" } },
    required: ["drawer"],
    additionalProperties: false,
  },
};

function reveal(given) {
  called.push(given);
  return secret;
}

async function chat(stream) {
  const runner = client.chat.completions.runTools({
    model,
    stream,
    messages: [{ role: "user", content: question }],
    tools: [{ type: "function", function: { ...tool, parse: JSON.parse, function: reveal } }],
  });
  if (stream) runner.on("content", (piece) => (streamed += piece));
  return await runner.finalContent();
}

async function responses(stream) {
  const input = [{ role: "user", content: question }];
  for (;;) {
    const body = { model, input, tools: [{ type: "function", ...tool, strict: true }], store: false };
    const response = stream ? await followed(body) : await client.responses.create(body);
    const calls = response.output.filter((item) => item.type === "function_call");
    if (calls.length === 0) return response.output_text;
    input.push(...response.output);
    for (const call of calls) {
      const output = reveal(JSON.parse(call.arguments));
      input.push({ type: "function_call_output", call_id: call.call_id, output });
    }
  }
}

async function followed(body) {
  const stream = client.responses.stream(body);
  stream.on("response.output_text.delta", (event) => (streamed += event.delta));
  return await stream.finalResponse();
}

const loops = {
  chat: () => chat(false),
  "chat-stream": () => chat(true),
  responses: () => responses(false),
  "responses-stream": () => responses(true),
};
const answer = await loops[api]();
console.log(JSON.stringify({ called, answer, streamed }));
