// A store that checks fences: it refuses a write with a lower one than it has seen, however late that comes.
import { createServer } from "node:http";

const state = { fence: 0, writer: null, writes: 0, refused: 0 };

createServer(async (request, response) => {
  let status = 200;
  if (request.method === "POST") {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { fence, writer } = JSON.parse(Buffer.concat(chunks).toString());
    if (fence >= state.fence) Object.assign(state, { fence, writer, writes: state.writes + 1 });
    else [status, state.refused] = [409, state.refused + 1];
  }
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(state) + "\n");
}).listen(Number(process.env.PORT), "127.0.0.1");
