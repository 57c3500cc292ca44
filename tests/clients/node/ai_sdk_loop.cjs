// Vercel's AI SDK: a loop of calls, streamed, by the provider of the API that is named; prints what was said and thought.
const { stepCountIs, streamText, tool } = require("ai");
const { createOpenAI } = require("@ai-sdk/openai");
const { createOpenAICompatible } = require("@ai-sdk/openai-compatible");
const { z } = require("zod");

const [, , api, baseURL] = process.argv;
const model = {
  responses: () => createOpenAI({ baseURL, apiKey: "none" }).responses("gpt-oss-20b"),
  chat: () => createOpenAICompatible({ name: "gptoss", baseURL }).chatModel("gpt-oss-20b"),
}[api]();

async function main() {
  const result = streamText({
    model,
    prompt: "The weather in Oslo, Rome and Lima?",
    // The provider of the Responses API reads summaries alone, and asks for none of a model that it doesn't know to reason.
    providerOptions: { openai: { reasoningSummary: "auto", forceReasoning: true } },
    stopWhen: stepCountIs(6),
    tools: {
      get_weather: tool({
        description: "Weather",
        inputSchema: z.object({ city: z.string() }),
        execute: async ({ city }) => `weather of ${city}`,
      }),
    },
    onError: ({ error }) => { throw error; },
  });
  let said = "", thought = "";
  for await (const part of result.fullStream) {
    if (part.type === "text-delta") said += part.text;
    if (part.type === "reasoning-delta") thought += part.text;
  }
  console.log(JSON.stringify({ said, thought }));
}

main();
