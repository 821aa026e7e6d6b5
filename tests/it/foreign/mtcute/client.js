// Calls the sandbox by mtcute, as it comes, and prints what it got as JSON.
//
// Takes the name of the transport; a line of the sandbox's sessions comes on standard input.

const fs = require("fs");

// Left to itself, the client dials Telegram's own addresses.
const lines = fs.readFileSync("/proc/net/dev", "utf8").split("\n");
const interfaces = lines.filter((line) => line.includes(":")).map((line) => line.split(":")[0].trim());
if (interfaces.join() !== "lo") {
  console.error(`this runs with the loopback interface alone, not with ${interfaces}`);
  process.exit(1);
}

const { MemoryStorage, TelegramClient } = require("@mtcute/node");
const { writeStringSession } = require("@mtcute/core/utils.js");

async function main() {
  const line = JSON.parse(fs.readFileSync(0, "utf8"));
  // A string of Telethon's: the number of the data centre, its address and port, and the key.
  const told = Buffer.from(line.session.slice(1), "base64url");
  const ipAddress = [...told.subarray(1, 5)].join(".");
  const dc = { id: told[0], ipAddress, port: told.readUInt16BE(5) };
  const authKey = new Uint8Array(told.subarray(7));
  const session = writeStringSession({ version: 3, primaryDcs: { main: dc, media: dc }, authKey, self: null });
  const client = new TelegramClient({
    apiId: 1,
    apiHash: "hash",
    storage: new MemoryStorage(),
    disableUpdates: true,
    logLevel: 1,
  });
  await client.importSession(session, true);
  const pongs = [];
  for (let number = 0; number < 20; number++) {
    const state = await client.call({ _: "updates.getState" });
    pongs.push(number + state.pts - 1);
  }
  const me = await client.getMe();
  console.log(JSON.stringify({ pongs, is_self: [me.raw.self], pts: 1 }));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
