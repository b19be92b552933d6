// node's ws against the echo server: node server_outside.js URL CA; prints "ok" at the end.
'use strict';
const fs = require('fs');
const assert = require('assert');
const WebSocket = require('ws');

const [url, ca] = process.argv.slice(2);
const options = ca ? {ca: fs.readFileSync(ca)} : {};

function once(socket, event) {
    return new Promise((done, fail) => {
        socket.once(event, (...words) => done(words));
        socket.once('error', fail);
    });
}

async function echoes() {
    const socket = new WebSocket(url + '/', options); // offers permessage-deflate
    await once(socket, 'open');
    assert.strictEqual(socket.extensions, '');
    for (const size of [0, 1, 125, 126, 65535, 65536]) {
        const sent = Buffer.alloc(size, size % 251);
        socket.send(sent);
        const [data, binary] = await once(socket, 'message');
        assert(binary && data.equals(sent));
    }
    socket.send('first ', {fin: false});
    socket.send('second', {fin: true});
    const [data, binary] = await once(socket, 'message');
    assert(!binary && data.toString() === 'first second');
    socket.ping('are you there');
    assert.strictEqual((await once(socket, 'pong'))[0].toString(), 'are you there');
    socket.send('close 4321 good bye');
    const [code, reason] = await once(socket, 'close');
    assert(code === 4321 && reason.toString() === 'good bye');
}

async function floods() {
    const socket = new WebSocket(url + '/flood', options);
    let next = -1, count = 0;
    await new Promise((done, fail) => {
        socket.on('message', data => {
            const number = JSON.parse(data).n;
            if (next >= 0 && number !== next)
                fail(new Error('got ' + number + ', not ' + next));
            next = number + 1;
            if (++count === 100000)
                done();
        });
        socket.on('error', fail);
    });
    socket.close(1000);
    const [code] = await once(socket, 'close');
    assert.strictEqual(code, 1000);
}

echoes().then(floods).then(() => console.log('ok'), error => {
    console.error(error);
    process.exit(1);
});
