// The echo server of Node's package ws that websocket.py measures: `node websocket_server.js [deflate]`; says its port.
"use strict";

process.env.WS_NO_BUFFER_UTIL = process.env.WS_NO_UTF_8_VALIDATE = "1"; // as it comes: without the optional packages in C++
const { WebSocketServer } = require("ws");

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: process.argv[2] === "deflate" });
server.on("listening", () => console.log(server.address().port));
server.on("connection", ws => ws.on("message", (data, binary) => ws.send(data, { binary })));
