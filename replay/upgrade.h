/* The server's side of the opening handshake: RFC 6455 section 4.2. */
#ifndef TAPE_REPLAY_UPGRADE_H
#define TAPE_REPLAY_UPGRADE_H

#include "format/handshake.h"
#include "replay/http.h"

#ifdef __cplusplus
extern "C" {
#endif

/* TAPE_UPGRADE_FAULT(name, status to answer, words) */
#define TAPE_UPGRADE_FAULT_TABLE(X)                                                                \
    X(NONE, 101, "no fault")                                                                       \
    X(METHOD, 405, "an upgrade must be a GET")                                                     \
    X(HTTP, 400, "an upgrade must be HTTP/1.1")                                                    \
    X(CONNECTION, 400, "Upgrade: websocket without Connection: Upgrade")                           \
    X(BODY, 400, "an upgrade has no body")                                                         \
    X(VERSION_COUNT, 400, "there must be one Sec-WebSocket-Version")                               \
    X(VERSION, 426, "only version 13 of WebSocket is spoken here")                                 \
    X(KEY, 400, "there must be one Sec-WebSocket-Key, the base64 of 16 bytes")

enum tape_upgrade_fault {
#define TAPE_UPGRADE_FAULT_ENUM(name, status, words) TAPE_UPGRADE_FAULT_##name,
    TAPE_UPGRADE_FAULT_TABLE(TAPE_UPGRADE_FAULT_ENUM)
#undef TAPE_UPGRADE_FAULT_ENUM
};

/* tape_upgrade_check(head): 1 for a good upgrade, 0 where none is asked for, -(enum
 * tape_upgrade_fault) for one that is wrong. Extensions and subprotocols are never negotiated. */
int tape_upgrade_check(const struct tape_http_head *head);

/* tape_upgrade_accept(head, accept): the answer to the key of a good one. */
void tape_upgrade_accept(const struct tape_http_head *head,
                         char accept[TAPE_HANDSHAKE_ACCEPT_CHARS + 1]);

const char *tape_upgrade_fault_words(int fault);
int tape_upgrade_fault_status(int fault);

#ifdef __cplusplus
}
#endif
#endif
