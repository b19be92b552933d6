#include "record/url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* For errors: what a terminal must not see becomes a question mark, long texts are cut. */
static void printable(const char *text, char *to, size_t room)
{
    size_t used = 0;
    for (; *text && used + 4 < room; text++)
        to[used++] = *text >= ' ' && *text <= '~' ? *text : '?';
    snprintf(to + used, room - used, "%s", *text ? "..." : "");
}

static int refuse(struct tape_error *error, const char *text, const char *why)
{
    char shown[200];
    printable(text, shown, sizeof shown);
    return tape_error_set(error, TAPE_USAGE, "URL \"%s\": %s", shown, why);
}

static const char *scheme_of(const char *text, struct tape_url *url)
{
    if (!strncasecmp(text, "wss://", 6)) {
        url->secure = 1;
        return text + 6;
    }
    if (!strncasecmp(text, "ws://", 5))
        return text + 5;
    return NULL;
}

/* What is wrong with a name, or NULL. Underscores are met in private networks. */
static const char *name_fault(const char *name)
{
    size_t label = 0;
    for (const char *at = name;; at++) {
        if (*at == '.' || *at == '\0') {
            if (label == 0)
                return "the host name has an empty label";
            if (label > 63)
                return "a label of the host name is longer than 63 characters";
            label = 0;
            if (*at == '\0')
                return NULL;
        } else if ((*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') || *at == '-' ||
                   *at == '_') {
            label++;
        } else {
            return "the host name has a character that may not stand in one";
        }
    }
}

static const char *host_fault(struct tape_url *url, const char *host, size_t bytes, int bracketed)
{
    unsigned char address[16];
    if (bytes == 0)
        return "the host is missing";
    if (bytes >= sizeof url->host)
        return "the host name is longer than 253 characters";
    for (size_t i = 0; i < bytes; i++)
        url->host[i] = host[i] >= 'A' && host[i] <= 'Z' ? (char)(host[i] + 32) : host[i];
    url->host[bytes] = '\0';
    if (bracketed) {
        url->family = AF_INET6;
        return inet_pton(AF_INET6, url->host, address) == 1 ? NULL : "not an IPv6 address";
    }
    if (inet_pton(AF_INET, url->host, address) == 1) {
        url->family = AF_INET;
        return NULL;
    }
    return name_fault(url->host);
}

static const char *port_fault(struct tape_url *url, const char *digits, size_t bytes)
{
    int port = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (digits[i] < '0' || digits[i] > '9' || port > 65535)
            return "the port is not a number from 1 to 65535";
        port = port * 10 + (digits[i] - '0');
    }
    if (port < 1 || port > 65535)
        return "the port is not a number from 1 to 65535";
    url->port = port;
    return NULL;
}

/* "host", "host:port", "[v6]" or "[v6]:port" in text[0..bytes). */
static const char *authority_fault(struct tape_url *url, const char *text, size_t bytes)
{
    int bracketed = bytes && text[0] == '[';
    if (memchr(text, '@', bytes))
        return "user names and passwords are not allowed";
    const char *close = bracketed ? memchr(text, ']', bytes) : NULL;
    if (bracketed && !close)
        return "the bracket of the IPv6 address is not closed";
    const char *after = bracketed ? close + 1 : memchr(text, ':', bytes);
    const char *end = text + bytes;
    if (!after)
        after = end;
    const char *fault = bracketed ? host_fault(url, text + 1, (size_t)(close - text - 1), 1)
                                  : host_fault(url, text, (size_t)(after - text), 0);
    url->port = url->secure ? 443 : 80;
    if (fault || after == end)
        return fault;
    if (*after != ':')
        return "something other than a port follows the IPv6 address";
    return port_fault(url, after + 1, (size_t)(end - after - 1));
}

static const char *target_fault(const char *target)
{
    if (strlen(target) + 2 > TAPE_URL_TARGET_BYTES)
        return "the path is longer than 4094 characters";
    for (; *target; target++) {
        if (*target == '#')
            return "a fragment (#) may not stand in a WebSocket URL";
        if (*target <= ' ' || *target > '~')
            return "a character of the path must be written as %XX";
    }
    return NULL;
}

int tape_url_set_target(struct tape_url *url, const char *target, struct tape_error *error)
{
    const char *fault = target_fault(target);
    if (fault)
        return refuse(error, target, fault);
    snprintf(url->target, sizeof url->target, "%s%s", *target == '/' ? "" : "/", target);
    return TAPE_OK;
}

int tape_url_parse(const char *text, struct tape_url *url, struct tape_error *error)
{
    memset(url, 0, sizeof *url);
    const char *authority = scheme_of(text, url);
    if (!authority)
        return refuse(error, text, "it must begin with wss:// or ws://");
    size_t bytes = strcspn(authority, "/?#");
    const char *fault = authority_fault(url, authority, bytes);
    if (!fault)
        fault = target_fault(authority + bytes);
    if (fault)
        return refuse(error, text, fault);
    url->has_path = authority[bytes] != '\0';
    return tape_url_set_target(url, authority + bytes, error);
}

int tape_url_is_loopback(const struct tape_url *url)
{
    struct in6_addr six;
    struct in_addr four;
    if (url->family == AF_INET6)
        return inet_pton(AF_INET6, url->host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
    if (url->family == AF_INET)
        return inet_pton(AF_INET, url->host, &four) == 1 && ntohl(four.s_addr) >> 24 == 127;
    return !strcmp(url->host, "localhost");
}

void tape_url_authority(const struct tape_url *url, char *to, size_t room)
{
    char port[8] = "";
    if (url->port != (url->secure ? 443 : 80))
        snprintf(port, sizeof port, ":%d", url->port);
    snprintf(to, room, url->family == AF_INET6 ? "[%s]%s" : "%s%s", url->host, port);
}

void tape_url_text(const struct tape_url *url, char *to, size_t room)
{
    char authority[TAPE_URL_HOST_BYTES + 10];
    tape_url_authority(url, authority, sizeof authority);
    snprintf(to, room, "%s://%s%s", url->secure ? "wss" : "ws", authority, url->target);
}
