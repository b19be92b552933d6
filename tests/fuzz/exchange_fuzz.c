/*
 * A client's words, with NUL bytes between: the path, the query, and requests. The first byte
 * chooses the venue.
 */
#include "replay/exchange.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"

static void check(int condition)
{
    if (!condition)
        abort();
}

/* An answer is JSON, with an id. What a client may write as its id is all that is not ours. */
static void check_answer(const struct tape_growing *answer)
{
    cJSON *root = tape_json_parse((const char *)answer->bytes, answer->length, 1 << 20, 8);
    check(cJSON_IsObject(root));
    check(cJSON_GetArraySize(root) == 2);
    check(cJSON_GetObjectItemCaseSensitive(root, "id") != NULL);
    check(cJSON_GetObjectItemCaseSensitive(root, "result") ||
          cJSON_GetObjectItemCaseSensitive(root, "error"));
    cJSON_Delete(root);
}

static void check_client(const struct tape_exchange_client *client)
{
    check(client->count <= TAPE_EXCHANGE_STREAMS_MAX && client->count <= client->room);
    for (size_t i = 0; i < client->count; i++) {
        const struct tape_exchange_name *name = &client->names[i];
        check(name->bytes >= 1 && name->bytes <= TAPE_EXCHANGE_NAME_MAX_BYTES);
        check(!memchr(name->text, '"', name->bytes) && !memchr(name->text, '\\', name->bytes));
    }
}

static void check_derive(const char *text, size_t bytes)
{
    char name[TAPE_EXCHANGE_NAME_MAX_BYTES];
    struct tape_tick tick;
    if (tape_tick_scan(text, bytes, &tick) != 1)
        return;
    size_t named = tape_exchange_derive(&tick, (struct tape_slice){text, bytes}, name);
    check(named <= sizeof name && (named == 0 || memchr(name, '@', named)));
}

static void talk(struct tape_exchange_client *client, const char *at, const char *end)
{
    struct tape_error error;
    while (at < end) {
        struct tape_growing answer = {0};
        const char *stop = memchr(at, 0, (size_t)(end - at));
        size_t bytes = (size_t)((stop ? stop : end) - at);
        char *text = malloc(bytes ? bytes : 1);
        memcpy(text, at, bytes);
        int status = tape_exchange_answer(client, text, bytes, &answer, &error);
        check(status == 0 || status == 1 || status == TAPE_LIMIT);
        if (status >= 0)
            check_answer(&answer);
        check_client(client);
        check_derive(text, bytes);
        free(text);
        free(answer.bytes);
        at += bytes + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tape_venue *venues[3];
    struct tape_exchange_wishes wishes;
    struct tape_exchange_client client;
    struct tape_error error = {0, ""};
    for (int i = 0; i < 3 && !venues[i]; i++)
        venues[i] = tape_venue_load(tape_venue_names(i), NULL);
    if (size < 1)
        return 0;
    struct tape_exchange exchange = {data[0] % 4 < 3 ? venues[data[0] % 4] : NULL, data[0] / 4 % 2};
    char *text = malloc(size + 1);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = text[size] = '\0';
    const char *query = text + strlen(text) + 1, *end = text + size - 1;
    if (query > end)
        query = "";
    int status = tape_exchange_open(&client, &exchange, text, query, &error);
    check(status == 0 || status == TAPE_USAGE || status == TAPE_LIMIT);
    check(status == 0 || error.text[0]);
    check_client(&client);
    status = tape_exchange_read_wishes(query, &wishes, &error);
    check(status == 0 || status == TAPE_USAGE);
    if (client.root && *query)
        talk(&client, query + strlen(query) + 1, end);
    tape_exchange_close(&client);
    free(text);
    return 0;
}
