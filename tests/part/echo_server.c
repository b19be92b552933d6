/*
 * A server that sends back what it is sent: the network side of `serve` on its own.
 *
 *   echo_server [--listen ADDR] [--cert FILE --key FILE] [--ping MS] [--pong MS] [--peers N]
 *               [--queue BYTES] [--rate N] [--finish MS]
 *
 * Prints its address, then one line per event ("open 1 /path", "closed 1 1000", "drained 1").
 * Paths: /          echoes messages; "close CODE REASON" and "cut" end the connection /flood     as
 * above, and sends numbered text frames as fast as they are taken, through batches that all clients
 * of the path share /mixed     the same, but each frame put on its own, some of them large Over
 * HTTP: GET /plain, GET /large?N, POST /echo, GET /request; what is not there is 404. SIGTERM:
 * closes all with 1001 and ends.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/ws.h"
#include "replay/pace.h"
#include "replay/server.h"

enum { CLIENTS_MAX = 4096, BATCH_BYTES = 64 << 10, FRAME_BYTES = 280, ROUND_BATCHES = 8 };

enum path { ECHO, FLOOD, MIXED };

struct client {
    struct tape_peer *peer;
    int number;
    enum path path;
    unsigned long sent;
    int closed; /* by us */
};

static struct tape_server *server;
static struct client *clients[CLIENTS_MAX];
static int clients_count, opened;
static unsigned long flood_number;
static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static void respond_large(struct tape_peer *peer, const char *query)
{
    size_t bytes = strtoul(query, NULL, 10) % (64u << 20);
    char *body = malloc(bytes + 1);
    if (body)
        memset(body, 'x', bytes);
    tape_peer_respond(peer, body ? 200 : 500, "text/plain", body, body ? bytes : 0);
    free(body);
}

static void respond(struct tape_peer *peer, const struct tape_server_request *request)
{
    char text[40 << 10];
    if (strcmp(request->path, "/plain") == 0) {
        tape_peer_respond(peer, 200, "text/plain", "plain\n", 6);
    } else if (strcmp(request->path, "/large") == 0) {
        respond_large(peer, request->query);
    } else if (strcmp(request->path, "/echo") == 0) {
        tape_peer_respond(peer, 200, "application/octet-stream", request->body.data,
                          request->body.bytes);
    } else if (strcmp(request->path, "/twice") == 0) {
        tape_peer_respond(peer, 200, "text/plain", "first", 5);
        tape_peer_respond(peer, 200, "text/plain", "second", 6);
    } else if (strcmp(request->path, "/cut") == 0) {
        tape_peer_close(peer, 0, "");
    } else if (strcmp(request->path, "/upgrade") == 0) {
        tape_peer_respond(peer, 426, "text/plain", "not so\n", 7);
    } else if (strncmp(request->path, "/request", 8) == 0) {
        int bytes =
            snprintf(text, sizeof text, "%s|%s|%s|%s|%s|%d|%.*s", request->method, request->path,
                     request->query, request->host, request->origin, request->wants_websocket,
                     (int)request->body.bytes, request->body.data);
        tape_peer_respond(peer, 200, "text/plain", text, (size_t)bytes);
    }
}

static void on_request(void *context, struct tape_peer *peer,
                       const struct tape_server_request *request)
{
    (void)context;
    if (!request->wants_websocket || strcmp(request->path, "/refuse") == 0) {
        respond(peer, request);
        return;
    }
    struct client *client = clients_count < CLIENTS_MAX ? calloc(1, sizeof *client) : NULL;
    if (client == NULL)
        return;
    client->peer = peer;
    client->number = ++opened;
    client->path = strcmp(request->path, "/flood") == 0   ? FLOOD
                   : strcmp(request->path, "/mixed") == 0 ? MIXED
                                                          : ECHO;
    clients[clients_count++] = client;
    tape_peer_accept(peer, client);
    printf("open %d %s\n", client->number, request->path);
}

static void on_message(void *context, struct tape_peer *peer, int opcode, const char *payload,
                       size_t bytes)
{
    (void)context;
    struct client *client = tape_peer_context(peer);
    char text[256];
    if (client->closed)
        printf("late message %d\n", client->number);
    if (opcode == TAPE_WS_TEXT && bytes < sizeof text && memchr(payload, '\0', bytes) == NULL) {
        memcpy(text, payload, bytes);
        text[bytes] = '\0';
        if (strcmp(text, "cut") == 0) {
            tape_peer_close(peer, 0, "");
            return;
        }
        if (strncmp(text, "close ", 6) == 0) {
            char *reason;
            long code = strtol(text + 6, &reason, 10);
            client->closed = 1;
            tape_peer_close(peer, (int)code, *reason == ' ' ? reason + 1 : reason);
            tape_peer_put_text(peer, "after the close", 15); /* goes nowhere */
            return;
        }
        tape_peer_put_text(peer, payload, bytes);
        return;
    }
    uint8_t *to = tape_peer_reserve(peer, TAPE_WS_HEADER_MAX_BYTES + bytes);
    if (to == NULL)
        return;
    size_t header = tape_ws_build(to, opcode, 1, bytes, NULL);
    if (bytes > 0)
        memcpy(to + header, payload, bytes);
    tape_peer_commit(peer, header + bytes);
}

static void on_closed(void *context, struct tape_peer *peer, int code)
{
    struct client *client = tape_peer_context(peer);
    (void)context;
    printf("closed %d %d\n", client->number, code);
    for (int i = 0; i < clients_count; i++) {
        if (clients[i] == client) {
            clients[i] = clients[--clients_count];
            free(client);
            return;
        }
    }
    printf("closed a peer that was not open\n");
}

static void on_drained(void *context, struct tape_peer *peer)
{
    struct client *client = tape_peer_context(peer);
    (void)context;
    printf("drained %d\n", client->number);
}

/* One numbered frame: {"n":N,"pad":"xxx"} */
static size_t make_frame(uint8_t *to, unsigned long number, size_t bytes)
{
    char text[64];
    int used = snprintf(text, sizeof text, "{\"n\":%lu,\"pad\":\"", number);
    size_t header = tape_ws_build(to, TAPE_WS_TEXT, 1, bytes, NULL);
    memset(to + header, 'x', bytes);
    memcpy(to + header, text, (size_t)used);
    memcpy(to + header + bytes - 2, "\"}", 2);
    return header + bytes;
}

/* 1 when all clients of the path have room. */
static int have_room(enum path path)
{
    int count = 0;
    for (int i = 0; i < clients_count; i++) {
        if (clients[i]->path != path)
            continue;
        count++;
        if (tape_peer_room(clients[i]->peer) <= 0)
            return 0;
    }
    return count > 0;
}

static void flood(void)
{
    struct tape_batch *batch = tape_batch_new(BATCH_BYTES);
    uint8_t *to;
    if (batch == NULL)
        return;
    while ((to = tape_batch_reserve(batch, TAPE_WS_HEADER_MAX_BYTES + FRAME_BYTES)) != NULL)
        tape_batch_commit(batch, make_frame(to, flood_number++, FRAME_BYTES));
    for (int i = 0; i < clients_count; i++)
        if (clients[i]->path == FLOOD)
            tape_peer_put_batch(clients[i]->peer, batch);
    tape_batch_release(batch);
}

static void mix(struct client *client)
{
    static uint8_t frame[TAPE_WS_HEADER_MAX_BYTES + (100 << 10)];
    size_t bytes = client->sent % 97 == 0 ? 100 << 10 : FRAME_BYTES + client->sent % 1000;
    struct tape_batch *batch = NULL;
    size_t count = make_frame(frame, client->sent, bytes);
    if (client->sent % 3 == 0)
        batch = tape_batch_new(count * (client->sent % 2 ? 1 : 8));
    if (batch) {
        memcpy(tape_batch_reserve(batch, count), frame, count);
        tape_batch_commit(batch, count);
        tape_peer_put_batch(client->peer, batch);
        tape_batch_release(batch);
    } else {
        tape_peer_put(client->peer, frame, count);
    }
    client->sent++;
}

/* Returns 1 when more could be sent at once. */
static int feed(void)
{
    for (int i = 0; i < ROUND_BATCHES && have_room(FLOOD); i++)
        flood();
    for (int i = 0; i < clients_count; i++)
        for (int k = 0;
             k < 256 && clients[i]->path == MIXED && tape_peer_room(clients[i]->peer) > 0; k++)
            mix(clients[i]);
    return have_room(FLOOD) || have_room(MIXED);
}

static void read_options(int argc, char **argv, struct tape_server_options *options,
                         int64_t *finish_ns)
{
    static const struct option table[] = {
        {"listen", 1, 0, 'l'}, {"cert", 1, 0, 'c'},
        {"key", 1, 0, 'k'},    {"ping", 1, 0, 'p'},
        {"pong", 1, 0, 'o'},   {"peers", 1, 0, 'n'},
        {"queue", 1, 0, 'q'},  {"rate", 1, 0, 'r'},
        {"finish", 1, 0, 'f'}, {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        int64_t number = option == 'l' || option == 'c' || option == 'k' || option == '?'
                             ? 0
                             : strtoll(optarg, NULL, 10);
        switch (option) {
        case 'l':
            options->listen = optarg;
            break;
        case 'c':
            options->certificate = optarg;
            break;
        case 'k':
            options->key = optarg;
            break;
        case 'p':
            options->ping_ns = number * 1000000;
            break;
        case 'o':
            options->pong_ns = number * 1000000;
            break;
        case 'n':
            options->peers_max = (int)number;
            break;
        case 'q':
            options->queue_max_bytes = (size_t)number;
            break;
        case 'r':
            options->messages_per_second = (int)number;
            break;
        case 'f':
            *finish_ns = number * 1000000;
            break;
        default:
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    struct tape_error error = {0};
    int64_t finish_ns = 2000000000;
    struct tape_server_options options = {
        .listen = "127.0.0.1:0",
        .handler = {NULL, on_request, on_message, on_closed, on_drained},
    };
    const struct sigaction action = {.sa_handler = on_signal};
    read_options(argc, argv, &options, &finish_ns);
    sigaction(SIGTERM, &action, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    server = tape_server_open(&options, &error);
    if (server == NULL) {
        fprintf(stderr, "echo_server: %s\n", error.text);
        return tape_error_exit_code(error.status);
    }
    printf("listening %s\n", tape_server_address(server));
    while (!stop) {
        int64_t wait_ns = feed() ? 0 : 1000000000;
        if (tape_server_poll(server, tape_pace_now() + wait_ns, 0, &error) < 0) {
            fprintf(stderr, "echo_server: %s\n", error.text);
            return 1;
        }
    }
    tape_server_finish(server, 1001, "going away", tape_pace_now() + finish_ns);
    tape_server_close(server);
    printf("left %d\n", clients_count);
    return 0;
}
