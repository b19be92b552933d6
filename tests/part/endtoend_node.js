// A TLS WebSocket server by node's ws: sends every line of a file after the subscription, then closes.
// node endtoend_node.js LINES CERT KEY; says its port, then how many it sent.
"use strict";
const fs = require("fs");
const https = require("https");
const { WebSocketServer } = require("ws");

const [lines, cert, key] = process.argv.slice(2);
const payloads = fs.readFileSync(lines, "utf8").split("\n").slice(0, -1)
    .map((line) => line.slice(line.indexOf(" ") + 1));
const server = https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) });
const sockets = new WebSocketServer({ server, perMessageDeflate: false });

sockets.on("connection", (socket) => {
    socket.on("message", (text) => {
        const request = JSON.parse(text);
        socket.send(JSON.stringify({ result: null, id: request.id }));
        let at = 0;
        const more = () => {
            while (at < payloads.length && socket.bufferedAmount < 1 << 20) {
                socket.send(payloads[at++]);
                if (at % 1000 === 0) {
                    socket.ping(String(Date.now()));
                }
            }
            if (at < payloads.length) {
                setImmediate(more);
            } else {
                socket.close(1000, "that was all");
                console.log("sent", at);
            }
        };
        more();
    });
});
server.listen(0, "127.0.0.1", () => console.log("port", server.address().port));
