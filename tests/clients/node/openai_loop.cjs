// OpenAI's client for Node: a loop of calls, streamed, by the API that is named; prints what was said and thought.
const { OpenAI } = require("openai");

const [, , api, baseURL] = process.argv;
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const model = "gpt-oss-20b";
const question = "The weather in Oslo, Rome and Lima?";
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const getWeather = ({ city }) => `weather of ${city}`;

async function responses() {
  const tools = [{ type: "function", name: "get_weather", description: "Weather", parameters, strict: false }];
  let input = question, previous_response_id, thought = "";
  for (;;) {
    const stream = client.responses.stream({ model, input, tools, previous_response_id });
    stream.on("response.reasoning_text.delta", (event) => { thought += event.delta; });
    const response = await stream.finalResponse();
    const calls = response.output.filter((item) => item.type === "function_call");
    if (!calls.length) return { said: response.output_text, thought };
    previous_response_id = response.id;
    input = calls.map((call) => ({
      type: "function_call_output", call_id: call.call_id, output: getWeather(JSON.parse(call.arguments)),
    }));
  }
}

async function chat() {
  const fn = { name: "get_weather", description: "Weather", parameters, parse: JSON.parse, function: getWeather };
  const messages = [{ role: "user", content: question }];
  const runner = client.chat.completions.runTools({ model, messages, tools: [{ type: "function", function: fn }], stream: true });
  let thought = "";
  runner.on("chunk", (chunk) => { thought += chunk.choices[0]?.delta?.reasoning ?? ""; });
  return { said: await runner.finalContent(), thought };
}

({ responses, chat })[api]().then((result) => console.log(JSON.stringify(result)));
