/* The venue's answers to our requests, told from market data. */
#include <string.h>

#include "format/json.h"
#include "format/scan.h"
#include "format/tick.h"
#include "format/venue.h"

enum {
    ANSWER_MAX_BYTES = 64 << 10, /* a list of 1024 subscriptions fits */
    ANSWER_MAX_DEPTH = 8,
};

/* Every answer starts with one of these keys; market data has none of them in the first place, so
 * that its first bytes are all that is ever read. */
static int starts_like_answer(const char *payload, size_t bytes)
{
    static const char *const keys[] = {"result", "id", "error", "code", "msg"};
    const char *end = payload + bytes;
    const char *at = tape_scan_space(payload, end);
    if (at == end || *at != '{')
        return 0;
    at = tape_scan_space(at + 1, end);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        size_t length = strlen(keys[i]);
        if ((size_t)(end - at) >= length + 2 && at[0] == '"' && at[length + 1] == '"' &&
            !memcmp(at + 1, keys[i], length))
            return 1;
    }
    return 0;
}

static int64_t integer_of(const cJSON *item, int64_t fallback)
{
    long long value;
    return tape_json_integer(item, &value) ? value : fallback;
}

/* The text goes to terminals and logs. */
static void copy_printable(char *to, size_t room, const char *from)
{
    size_t at = 0;
    for (; from && from[at] && at < room - 1; at++)
        to[at] = from[at] >= ' ' && from[at] < 0x7f ? from[at] : '?';
    to[at] = 0;
}

/* 1 when fault is an error's object, or is itself the answer: a code and words. */
static int read_fault(const cJSON *fault, struct tape_venue_answer *answer)
{
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(fault, "code");
    const cJSON *words = cJSON_GetObjectItemCaseSensitive(fault, "msg");
    if (!cJSON_IsNumber(code) || !cJSON_IsString(words))
        return 0;
    answer->error_code = integer_of(code, 0);
    copy_printable(answer->error_text, sizeof answer->error_text, words->valuestring);
    return 1;
}

static int read_answer(const cJSON *root, struct tape_venue_answer *answer)
{
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(root, "id");
    const cJSON *fault = cJSON_GetObjectItemCaseSensitive(root, "error");
    answer->id = integer_of(id, TAPE_TICK_NONE);
    if (read_fault(cJSON_IsObject(fault) ? fault : root, answer))
        return TAPE_VENUE_ERROR;
    return id && cJSON_GetObjectItemCaseSensitive(root, "result") ? TAPE_VENUE_ACK
                                                                  : TAPE_VENUE_DATA;
}

int tape_venue_classify(const char *payload, size_t bytes, struct tape_venue_answer *answer)
{
    answer->id = TAPE_TICK_NONE;
    answer->error_code = 0;
    answer->error_text[0] = 0;
    if (bytes == 0 || bytes > ANSWER_MAX_BYTES || !starts_like_answer(payload, bytes))
        return TAPE_VENUE_DATA;
    cJSON *root = tape_json_parse(payload, bytes, ANSWER_MAX_BYTES, ANSWER_MAX_DEPTH);
    int kind = root ? read_answer(root, answer) : TAPE_VENUE_DATA;
    if (kind == TAPE_VENUE_DATA)
        answer->id = TAPE_TICK_NONE;
    cJSON_Delete(root);
    return kind;
}
