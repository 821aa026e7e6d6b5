// Calls the sandbox by GramJS over one transport, and prints what it got as JSON.
//
// Takes the name of the transport; a line of the sandbox's sessions comes on standard input.

const fs = require("fs");

// Left to itself, the client dials Telegram's own ports.
const lines = fs.readFileSync("/proc/net/dev", "utf8").split("\n");
const interfaces = lines.filter((line) => line.includes(":")).map((line) => line.split(":")[0].trim());
if (interfaces.join() !== "lo") {
  console.error(`this runs with the loopback interface alone, not with ${interfaces}`);
  process.exit(1);
}

const bigInt = require("big-integer");
const { Api, TelegramClient } = require("telegram");
const { StringSession } = require("telegram/sessions");
const network = require("telegram/network");

const TRANSPORTS = {
  full: network.ConnectionTCPFull,
  abridged: network.ConnectionTCPAbridged,
  "obfuscated abridged": network.ConnectionTCPObfuscated,
};

async function main() {
  const line = JSON.parse(fs.readFileSync(0, "utf8"));
  const [ip, port] = line.address.split(":");
  const transport = TRANSPORTS[process.argv[2]];
  const connection = class extends transport {
    // The client ignores the port of the session.
    constructor(parameters) {
      super({ ...parameters, ip, port: Number(port) });
    }
  };
  const options = { connection, connectionRetries: 1, requestRetries: 1, useWSS: false };
  const client = new TelegramClient(new StringSession(line.session), 1, "hash", options);
  client.setLogLevel("error");
  await client.connect();
  const pongs = [];
  for (let number = 0; number < 20; number++) {
    const pong = await client.invoke(new Api.Ping({ pingId: bigInt(number) }));
    pongs.push(Number(pong.pingId));
  }
  const state = await client.invoke(new Api.updates.GetState());
  const me = await client.getMe();
  console.log(JSON.stringify({ pongs, is_self: [me.self], pts: state.pts }));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
