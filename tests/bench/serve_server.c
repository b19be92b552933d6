/*
 * The sending end of the player on its own: frames of 280 bytes to clients that discard them, from
 * batches that all of them share, as fast as they take them.
 *
 *   serve_server --port-file FILE --clients N --frames N [--batch BYTES] [--cert FILE --key FILE]
 *
 * Prints one JSON object: CPU and wall time a delivered frame, of this thread, from the first frame
 * until the last has left.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "format/ws.h"
#include "replay/pace.h"
#include "replay/server.h"

enum {
    CLIENTS_MAX = 64,
    PAYLOAD_BYTES = 280,
    FRAME_BYTES = PAYLOAD_BYTES + 4,
    SOURCE_FRAMES = 4096
};

static struct tape_peer *peers[CLIENTS_MAX];
static int joined, left;

static void on_request(void *context, struct tape_peer *peer,
                       const struct tape_server_request *request)
{
    (void)context;
    if (!request->wants_websocket || joined == CLIENTS_MAX)
        return;
    tape_peer_accept(peer, NULL);
    peers[joined++] = peer;
}

static void on_message(void *context, struct tape_peer *peer, int opcode, const char *payload,
                       size_t bytes)
{
    (void)context, (void)peer, (void)opcode, (void)payload, (void)bytes;
}

static void on_closed(void *context, struct tape_peer *peer, int code)
{
    (void)context, (void)peer;
    left++;
    if (code != 1000)
        fprintf(stderr, "serve_server: a client left with %d\n", code);
}

static void on_drained(void *context, struct tape_peer *peer)
{
    (void)context, (void)peer;
}

static void poll_server(struct tape_server *server, int64_t wait_ns)
{
    struct tape_error error;
    if (tape_server_poll(server, tape_pace_now() + wait_ns, 0, &error) == 0)
        return;
    fprintf(stderr, "serve_server: %s\n", error.text);
    exit(1);
}

static double cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
           (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
}

/* As an archive gives them: somewhere in memory, one after the other. */
static uint8_t *make_frames(void)
{
    uint8_t *frames = malloc((size_t)SOURCE_FRAMES * FRAME_BYTES);
    if (frames == NULL)
        exit(1);
    for (int i = 0; i < SOURCE_FRAMES; i++) {
        uint8_t *to = frames + (size_t)i * FRAME_BYTES;
        size_t header = tape_ws_build(to, TAPE_WS_TEXT, 1, PAYLOAD_BYTES, NULL);
        memset(to + header, 'a' + i % 26, PAYLOAD_BYTES);
    }
    return frames;
}

static int all_have_room(int clients)
{
    for (int i = 0; i < clients; i++)
        if (tape_peer_room(peers[i]) <= 0)
            return 0;
    return 1;
}

static int all_are_empty(int clients)
{
    for (int i = 0; i < clients; i++)
        if (tape_peer_queued_bytes(peers[i]) > 0)
            return 0;
    return 1;
}

static void send_all(struct tape_server *server, int clients, uint64_t frames, size_t batch_bytes)
{
    uint8_t *source = make_frames();
    for (uint64_t done = 0; done < frames && left == 0;) {
        while (!all_have_room(clients) && left == 0)
            poll_server(server, 1000000000);
        struct tape_batch *batch = tape_batch_new(batch_bytes);
        uint8_t *to;
        while (batch && done < frames && (to = tape_batch_reserve(batch, FRAME_BYTES)) != NULL) {
            memcpy(to, source + (done++ % SOURCE_FRAMES) * FRAME_BYTES, FRAME_BYTES);
            tape_batch_commit(batch, FRAME_BYTES);
        }
        for (int i = 0; i < clients; i++)
            tape_peer_put_batch(peers[i], batch);
        tape_batch_release(batch);
        poll_server(server, 0);
    }
    while (!all_are_empty(clients) && left == 0) /* no handler is called when they are */
        poll_server(server, 1000000);
    free(source);
}

int main(int argc, char **argv)
{
    static const struct option table[] = {{"port-file", 1, 0, 'p'},
                                          {"clients", 1, 0, 'n'},
                                          {"frames", 1, 0, 'f'},
                                          {"batch", 1, 0, 'b'},
                                          {"cert", 1, 0, 'c'},
                                          {"key", 1, 0, 'k'},
                                          {0}};
    struct tape_server_options options = {
        .listen = "127.0.0.1:0", .handler = {NULL, on_request, on_message, on_closed, on_drained}};
    struct tape_error error = {0};
    const char *port_file = NULL;
    int clients = 1;
    uint64_t frames = 1000000;
    size_t batch_bytes = 64 << 10;
    for (int option; (option = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        if (option == 'p')
            port_file = optarg;
        else if (option == 'n')
            clients = (int)strtol(optarg, NULL, 10);
        else if (option == 'f')
            frames = strtoull(optarg, NULL, 10);
        else if (option == 'b')
            batch_bytes = strtoull(optarg, NULL, 10);
        else if (option == 'c')
            options.certificate = optarg;
        else if (option == 'k')
            options.key = optarg;
        else
            return 2;
    }
    struct tape_server *server = tape_server_open(&options, &error);
    FILE *file = server && port_file ? fopen(port_file, "w") : NULL;
    if (file == NULL || clients < 1 || clients > CLIENTS_MAX || batch_bytes < FRAME_BYTES) {
        fprintf(stderr, "serve_server: %s\n", error.text);
        return 2;
    }
    fprintf(file, "%s\n", strrchr(tape_server_address(server), ':') + 1);
    fclose(file);
    while (joined < clients)
        poll_server(server, 1000000000);
    double cpu = cpu_s();
    int64_t wall_ns = tape_pace_now();
    send_all(server, clients, frames, batch_bytes);
    cpu = cpu_s() - cpu;
    wall_ns = tape_pace_now() - wall_ns;
    double deliveries = (double)frames * clients;
    printf(
        "{\"clients\": %d, \"tls\": %d, \"frames\": %llu, \"cpu_us\": %.4f, \"wall_us\": %.4f}\n",
        clients, options.certificate != NULL, (unsigned long long)frames, cpu * 1e6 / deliveries,
        (double)wall_ns / 1e3 / deliveries);
    tape_server_finish(server, 1000, "that was all", tape_pace_now() + 5000000000);
    tape_server_close(server);
    return 0;
}
