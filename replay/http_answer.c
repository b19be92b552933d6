#include "replay/http_answer.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* STATUS(number, phrase, fields that belong to it) */
#define STATUS_TABLE(X)                                                                            \
    X(200, "OK", "")                                                                               \
    X(202, "Accepted", "")                                                                         \
    X(204, "No Content", "Allow: GET, HEAD, POST, OPTIONS\r\n")                                    \
    X(400, "Bad Request", "")                                                                      \
    X(403, "Forbidden", "")                                                                        \
    X(404, "Not Found", "")                                                                        \
    X(405, "Method Not Allowed", "Allow: GET, HEAD, POST, OPTIONS\r\n")                            \
    X(408, "Request Timeout", "")                                                                  \
    X(409, "Conflict", "")                                                                         \
    X(413, "Payload Too Large", "")                                                                \
    X(414, "URI Too Long", "")                                                                     \
    X(417, "Expectation Failed", "")                                                               \
    X(422, "Unprocessable Entity", "")                                                             \
    X(426, "Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")              \
    X(429, "Too Many Requests", "Retry-After: 1\r\n")                                              \
    X(431, "Request Header Fields Too Large", "")                                                  \
    X(500, "Internal Server Error", "")                                                            \
    X(501, "Not Implemented", "")                                                                  \
    X(503, "Service Unavailable", "Retry-After: 1\r\n")                                            \
    X(505, "HTTP Version Not Supported", "")

static const struct status {
    int number;
    const char *phrase, *fields;
} statuses[] = {
#define STATUS_ROW(number, phrase, fields) {number, phrase, fields},
    STATUS_TABLE(STATUS_ROW)
#undef STATUS_ROW
};

static const struct status *find(int number)
{
    static const struct status other = {0, "Other", ""};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (statuses[i].number == number)
            return &statuses[i];
    return &other;
}

const char *tape_http_answer_phrase(int status)
{
    return find(status)->phrase;
}

/* RFC 7231 section 7.1.1.1, in English whatever the locale. */
static void put_date(char *to, size_t room, long long unix_s)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm tm;
    time_t seconds = (time_t)unix_s;
    to[0] = '\0';
    if (gmtime_r(&seconds, &tm) != NULL)
        snprintf(to, room, "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n", days[tm.tm_wday],
                 tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
                 tm.tm_sec);
}

size_t tape_http_answer_head(char to[TAPE_HTTP_ANSWER_MAX_BYTES],
                             const struct tape_http_answer *answer)
{
    const struct status *status = find(answer->status);
    char date[64], type[128] = "", length[48] = "";
    put_date(date, sizeof date, answer->unix_s);
    if (answer->content_type)
        snprintf(type, sizeof type, "Content-Type: %.100s\r\n", answer->content_type);
    if (answer->status != 204)
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", answer->body_bytes);
    const char *upgrade = answer->status == 426 ? "Upgrade, " : "";
    return (size_t)snprintf(to, TAPE_HTTP_ANSWER_MAX_BYTES,
                            "HTTP/1.1 %d %s\r\n%s%s%s%sCache-Control: no-store\r\n"
                            "X-Content-Type-Options: nosniff\r\nConnection: %s%s\r\n\r\n",
                            answer->status, status->phrase, date, type, length, status->fields,
                            upgrade, answer->keep_alive ? "keep-alive" : "close");
}
