// node's ws as a client: prints one JSON line with what came. node serve_clients.js URL [CA] [REQUEST]
const WebSocket = require("ws");
const fs = require("fs");
const crypto = require("crypto");

const [url, ca, request] = process.argv.slice(2);
const options = { perMessageDeflate: true, ca: ca ? fs.readFileSync(ca) : undefined };
const socket = new WebSocket(url, options);
const digest = crypto.createHash("sha256");
let count = 0, first = null;
socket.on("open", () => { if (request) socket.send(request); });
socket.on("message", (data, binary) => {
    if (request && first === null) { first = data.toString(); return; }
    count++;
    digest.update(data).update("\n");
});
socket.on("error", (error) => { console.log(JSON.stringify({ error: error.message })); });
socket.on("close", (code, reason) => {
    console.log(JSON.stringify({ count, code, reason: reason.toString(), answer: first,
                                 extensions: socket.extensions, sha256: digest.digest("hex") }));
});
