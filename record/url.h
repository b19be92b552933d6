/* WebSocket URLs (RFC 6455 section 3). */
#ifndef TAPE_RECORD_URL_H
#define TAPE_RECORD_URL_H

#include <stddef.h>

#include "format/error.h"

enum {
    TAPE_URL_HOST_BYTES = 254, /* 253 characters are the longest name (RFC 1035) */
    TAPE_URL_TARGET_BYTES = 4096,
    TAPE_URL_TEXT_BYTES = TAPE_URL_HOST_BYTES + TAPE_URL_TARGET_BYTES + 24,
};

/* Invariants: host is not empty, lower case, without the brackets of an IPv6 address; target begins
 * with "/" and is "/" when the URL had no path. */
struct tape_url {
    int secure;   /* wss */
    int port;     /* 1 to 65535 */
    int family;   /* AF_INET or AF_INET6 when the host is an address, else 0 */
    int has_path; /* 0: target was not in the URL */
    char host[TAPE_URL_HOST_BYTES];
    char target[TAPE_URL_TARGET_BYTES]; /* path and query */
};

/* tape_url_parse(text, url, error): 0 or TAPE_USAGE, with the text quoted (made printable).
 * "ws" and "wss" only; user names, passwords and fragments are refused. */
int tape_url_parse(const char *text, struct tape_url *url, struct tape_error *error);

/* tape_url_set_target(url, target, error): replaces path and query. 0 or TAPE_USAGE. */
int tape_url_set_target(struct tape_url *url, const char *target, struct tape_error *error);

/* tape_url_is_loopback(url): 1 for 127.0.0.0/8, ::1 and "localhost". */
int tape_url_is_loopback(const struct tape_url *url);

/* tape_url_authority(url, to, room): what stands in the Host field: the port only when it is not
 * the scheme's own. tape_url_text(url, to, room): the whole URL in the same form. */
void tape_url_authority(const struct tape_url *url, char *to, size_t room);
void tape_url_text(const struct tape_url *url, char *to, size_t room);

#endif
