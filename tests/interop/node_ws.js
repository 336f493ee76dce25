// Node's ws, as a client and as a server that echoes. Told what to do by arrays of JSON, a line each, on stdin:
//   ["serve", {options}]                          -> ["port", number]
//   ["connect", url, [subprotocols], {options}]   -> ["open", subprotocol, extensions' parameters], or ["error", text]
//   and to the connection that came last: ["text", string] ["fill", size] ["pieces", string, ...] ["ping", string]
//   ["close", code, reason] ["terminate"] ["pause"] ["resume"]
// What it sees is written as arrays, too; "open" also by a server:
//   ["text", string] ["binary", size, SHA-1] ["pong", string] ["close", code, reason] ["error", text]
"use strict";
const { WebSocket, WebSocketServer } = require("ws");
const { createHash } = require("crypto");
const { readFileSync } = require("fs");

let ws = null;
const say = (...what) => process.stdout.write(JSON.stringify(what) + "\n");

function show(data, binary) {
    if (binary) say("binary", data.length, createHash("sha1").update(data).digest("hex"));
    else say("text", data.toString());
}

function watch(socket) {
    ws = socket;
    ws.on("message", show);
    ws.on("pong", data => say("pong", data.toString()));
    ws.on("close", (code, reason) => say("close", code, reason.toString()));
    ws.on("error", error => say("error", error.message));
    return ws;
}

const tasks = {
    serve(options) {
        if (options.cert) {
            const web = require("https").createServer({ cert: readFileSync(options.cert), key: readFileSync(options.key) });
            web.listen(0, "127.0.0.1", () => say("port", web.address().port));
            options.server = web;
        } else {
            Object.assign(options, { host: "127.0.0.1", port: 0 });
        }
        const server = new WebSocketServer({ maxPayload: 1 << 26, ...options }, () => say("port", server.address().port));
        let agreed = "";
        server.on("headers", lines => { agreed = lines.map(line => /^sec-websocket-extensions: (.*)/i.exec(line)).find(Boolean) });
        server.on("connection", socket => {
            watch(socket).on("message", (data, binary) => socket.send(data, { binary }));
            say("open", socket.protocol, agreed ? agreed[1] : "");
        });
    },
    connect(url, protocols, options) {
        if (options.ca) options.ca = readFileSync(options.ca);
        const made = watch(new WebSocket(url, protocols, { maxPayload: 1 << 26, ...options }));
        let agreed = "";
        made.on("upgrade", answer => { agreed = answer.headers["sec-websocket-extensions"] || "" });
        made.on("open", () => say("open", made.protocol, agreed));
    },
    text: text => ws.send(text),
    fill: size => ws.send(Buffer.from(Uint8Array.from({ length: size }, (_, index) => index * 7 + (index >> 8)))),
    pieces: (...pieces) => pieces.forEach((piece, index) => ws.send(piece, { fin: index === pieces.length - 1 })),
    ping: text => ws.ping(text),
    close: (code, reason) => ws.close(code, reason),
    terminate: () => ws.terminate(),
    pause: () => ws.pause(),
    resume: () => ws.resume(),
};

let rest = "";
process.stdin.on("data", data => {
    const lines = (rest + data).split("\n");
    rest = lines.pop();
    for (const line of lines) {
        const [name, ...given] = JSON.parse(line);
        tasks[name](...given);
    }
});
process.stdin.on("end", () => process.exit(0));
