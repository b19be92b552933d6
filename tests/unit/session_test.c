/* Sessions with a clock of our own; peers are ends of socket pairs, so that who does not read is
 * full. */
#include "replay/session.h"

#include "tests/unit/make_tape.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "replay/options.h"
#include "replay/pace.h"
#include "replay/server_state.h"

#define MS     1000000ll
#define SECOND 1000000000ll

enum { PEERS = 4, MESSAGES = 5 * TAPE_SESSION_SLICE_MESSAGES, FRAME_BYTES_MAX = 64 };

struct client {
    struct tape_peer peer;
    struct tape_session_member *member;
    int fd; /* the client's end */
    char got[MESSAGES * FRAME_BYTES_MAX];
    size_t got_bytes;
};

static char directory[256], archive_path[300];
static struct tape_server server;
static struct client clients[PEERS];
static struct tape_session *session;
static struct tape_exchange exchange;
static FILE *notices;
static char *notices_text;
static size_t notices_bytes;
static double speed; /* of the sessions that are opened; 0: max */

/* ---- rooms and clients ---- */

static int set_up(void **state)
{
    (void)state;
    close(made_directory(directory));
    snprintf(archive_path, sizeof archive_path, "%s/archive", directory);
    memset(&server, 0, sizeof server);
    server.options.queue_max_bytes = 200;
    server.work_end = &server.work;
    server.stage = malloc(TAPE_SERVER_STAGE_BYTES);
    memset(clients, 0, sizeof clients);
    notices = open_memstream(&notices_text, &notices_bytes);
    session = NULL;
    speed = 0;
    return 0;
}

static void drop(struct client *client)
{
    if (!client->fd)
        return;
    if (client->member)
        tape_session_leave(client->member, 0);
    tape_peer_advance(&client->peer, client->peer.queued_bytes);
    free(client->peer.pieces);
    close(client->fd);
    close(client->peer.fd);
    client->fd = 0;
    client->member = NULL;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < PEERS; i++)
        drop(&clients[i]);
    tape_session_close(session);
    fclose(notices);
    free(notices_text);
    free(server.stage);
    remove_tree(directory);
    return 0;
}

static void open_session(int count, int needed, int at_end)
{
    static const char *paths[] = {archive_path};
    struct tape_error error = {0};
    char *words = malloc((size_t)count * 12), *at = words;
    for (int i = 0; i < count; i++)
        at += snprintf(at, 12, "%d%s", i, i % 50 == 49 ? " | " : " ");
    make_tape(archive_path, words);
    free(words);
    struct tape_session_options options = {
        .name = "main",
        .archives = paths,
        .archives_count = 1,
        .transport = {.speed = speed},
        .clients = needed,
        .gather_ns = 100 * MS,
        .at_end = at_end,
        .digest = 1,
        .notices = notices,
        .server = &server,
    };
    session = tape_session_open(&options, &error);
    if (!session)
        fail_msg("%s", error.text);
}

static void join(int number, const char *path, const char *query, int64_t now_ns)
{
    struct client *client = &clients[number];
    struct tape_exchange_client asked;
    struct tape_error error = {0};
    int pair[2], small = 4096;
    memset(client, 0, sizeof *client);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    client->fd = pair[1];
    client->peer = (struct tape_peer){.server = &server, .fd = pair[0], .state = TAPE_PEER_OPEN};
    client->peer.writable = 1;
    assert_int_equal(tape_exchange_open(&asked, &exchange, path, query, &error), 0);
    client->member = tape_session_join(session, &client->peer, &asked, 0, now_ns, &error);
    assert_non_null(client->member);
    tape_session_welcome(client->member, now_ns);
}

/* What the server's poll would do: everything that the sockets take. */
static void send_all(void)
{
    for (int i = 0; i < PEERS; i++)
        if (clients[i].fd) {
            clients[i].peer.writable = 1;
            tape_peer_send(&clients[i].peer);
        }
}

static void read_all(struct client *client)
{
    for (;;) {
        send_all();
        ssize_t bytes = read(client->fd, client->got + client->got_bytes,
                             sizeof client->got - client->got_bytes);
        if (bytes <= 0)
            return;
        client->got_bytes += (size_t)bytes;
    }
}

/* Runs as long as there is something to do at that time; returns when there will be more. */
static int64_t run(int64_t now_ns)
{
    struct tape_error error = {0};
    for (int i = 0; i < 10000; i++) {
        int64_t until_ns = INT64_MAX;
        assert_int_equal(tape_session_run(session, now_ns, &until_ns, &error), 0);
        send_all();
        if (until_ns > now_ns)
            return until_ns;
    }
    fail_msg("it never rests");
    return 0;
}

/* ---- what came ---- */

/* Numbers of the data frames, of a plain client; -code for a close frame. */
static int numbers(const struct client *client, int *to, int room)
{
    int count = 0;
    for (size_t at = 0; at < client->got_bytes && count < room;) {
        const uint8_t *frame = (const uint8_t *)client->got + at;
        struct tape_ws_frame header;
        char text[32] = "";
        assert_true(tape_ws_header(frame, client->got_bytes - at, &header) > 0);
        const uint8_t *payload = frame + header.header_bytes;
        if (header.opcode == TAPE_WS_CLOSE) {
            to[count++] = -(payload[0] * 256 + payload[1]);
        } else {
            memcpy(text, payload, header.payload_bytes < 31 ? (size_t)header.payload_bytes : 31);
            to[count++] = (int)strtol(text, NULL, 10);
        }
        at += header.header_bytes + (size_t)header.payload_bytes;
    }
    return count;
}

/* It has messages [from, to) of stream a (two of three), then the close, if any. */
static void expect_from(struct client *client, int from, int to, int close_code)
{
    static int found[MESSAGES + 8];
    read_all(client);
    int count = numbers(client, found, MESSAGES + 8), at = 0;
    for (int i = from; i < to; i++) {
        if (i % 3 == 2)
            continue;
        assert_true(at < count);
        assert_int_equal(found[at++], i);
    }
    if (close_code)
        assert_int_equal(found[at++], -close_code);
    assert_int_equal(count, at);
}

static int told(const char *words)
{
    fflush(notices);
    return strstr(notices_text, words) != NULL;
}

/* ---- tests ---- */

static void test_gathering(void **state)
{
    (void)state;
    open_session(30, 2, TAPE_OPTIONS_AT_END_CLOSE);
    join(0, "/ws/a@trade", "", 1000 * MS);
    assert_true(run(5000 * MS) == INT64_MAX);
    join(1, "/ws", "", 5000 * MS);
    assert_true(run(5100 * MS) == INT64_MAX); /* nothing subscribed to: it does not count */
    static const char request[] = "{\"method\":\"SUBSCRIBE\",\"params\":[\"a@trade\"],\"id\":1}";
    tape_session_request(clients[1].member, request, sizeof request - 1, 5200 * MS);
    assert_true(run(5250 * MS) == 5300 * MS);
    join(2, "/ws", "", 5290 * MS); /* somebody new: from then on again */
    assert_true(run(5300 * MS) == 5390 * MS);
    assert_int_equal(tape_session_has_begun(session), 0);
    run(5390 * MS);
    assert_int_equal(tape_session_has_begun(session), 1);
    expect_from(&clients[0], 0, 30, 1000);
    clients[1].got_bytes = 0;
    read_all(&clients[1]);
    static const char answer[] = "\x81\x16{\"result\":null,\"id\":1}";
    assert_memory_equal(clients[1].got, answer, sizeof answer - 1);
    clients[1].got_bytes -= sizeof answer - 1;
    memmove(clients[1].got, clients[1].got + sizeof answer - 1, clients[1].got_bytes);
    expect_from(&clients[1], 0, 30, 1000);
    expect_from(&clients[2], 0, 0, 1000);
}

static void test_waiting_for_the_full(void **state)
{
    (void)state;
    open_session(MESSAGES, 2, TAPE_OPTIONS_AT_END_CLOSE);
    join(0, "/ws/a@trade", "", 0);
    join(1, "/ws/a@trade", "", 0);
    assert_true(run(SECOND) == 2 * SECOND); /* neither reads */
    assert_true(tape_peer_room(&clients[0].peer) <= 0);
    read_all(&clients[1]);
    size_t before = clients[1].got_bytes;
    assert_true(before > 1000);
    assert_true(run(2 * SECOND) == 3 * SECOND); /* one does not: the other waits */
    read_all(&clients[1]);
    assert_int_equal(clients[1].got_bytes, before);
    for (int i = 0; i < 10000 && !tape_session_ended(session); i++) {
        read_all(&clients[0]);
        read_all(&clients[1]);
        run(3 * SECOND + i * MS);
    }
    read_all(&clients[0]);
    read_all(&clients[1]);
    run(5 * SECOND);
    expect_from(&clients[0], 0, MESSAGES, 1000);
    expect_from(&clients[1], 0, MESSAGES, 1000);
}

static void test_stuck(void **state)
{
    (void)state;
    open_session(MESSAGES, 2, TAPE_OPTIONS_AT_END_CLOSE);
    join(0, "/ws/a@trade", "", 0);
    join(1, "/ws/a@trade", "", 0);
    run(SECOND);
    read_all(&clients[1]);
    run(2 * SECOND);
    size_t queued = tape_peer_queued_bytes(&clients[0].peer);
    run(30 * SECOND);
    assert_int_equal(clients[0].peer.state, TAPE_PEER_OPEN);
    assert_int_equal(tape_peer_queued_bytes(&clients[0].peer), queued);
    run(32 * SECOND);
    assert_int_equal(clients[0].peer.state, TAPE_PEER_CLOSING);
    assert_int_equal(clients[0].peer.close_code, 1008);
    assert_true(
        told("session main: a client took nothing for 30 s and is closed; the others go on"));
    for (int i = 0; i < 10000 && !tape_session_ended(session); i++) {
        read_all(&clients[1]);
        run(33 * SECOND);
    }
    read_all(&clients[1]);
    run(34 * SECOND);
    expect_from(&clients[1], 0, MESSAGES, 1000);
}

/* A slow one is closed only when it has taken all; one that takes a little now and then is not
 * stuck. */
static void test_farewell(void **state)
{
    (void)state;
    open_session(100, 1, TAPE_OPTIONS_AT_END_CLOSE);
    server.options.queue_max_bytes = 1 << 20;
    join(0, "/ws/a@trade", "", 0);
    clients[0].peer.writable = 0;
    struct tape_error error = {0};
    int64_t until_ns = INT64_MAX;
    for (int i = 0; i < 10 && !tape_session_ended(session); i++) {
        clients[0].peer.writable = 0;
        assert_int_equal(tape_session_run(session, SECOND, &until_ns, &error), 0);
    }
    assert_int_equal(tape_session_ended(session), 1);
    assert_int_equal(clients[0].peer.state, TAPE_PEER_OPEN);
    read_all(&clients[0]);
    run(2 * SECOND);
    assert_int_equal(clients[0].peer.state, TAPE_PEER_CLOSING);
    expect_from(&clients[0], 0, 100, 1000);
}

static void test_hold_and_anew(void **state)
{
    struct tape_error error = {0};
    (void)state;
    open_session(20, 1, TAPE_OPTIONS_AT_END_HOLD);
    join(0, "/ws/a@trade", "", 0);
    run(SECOND);
    expect_from(&clients[0], 0, 20, 0);
    assert_int_equal(tape_session_ended(session), 1);
    assert_int_equal(tape_session_is_over(session), 0);
    clients[0].got_bytes = 0;
    /* its span comes from an index that these archives do not have: by number */
    char text[80];
    snprintf(text, sizeof text, "{\"do\":\"seek\",\"to\":\"%lld\"}",
             (long long)(made_ns + 10 * MS));
    if (tape_session_command(session, text, strlen(text), SECOND, &error) < 0)
        fail_msg("%s", error.text);
    assert_int_equal(tape_session_ended(session), 0);
    run(SECOND);
    expect_from(&clients[0], 10, 20, 0);
    drop(&clients[0]);
    assert_int_equal(tape_session_is_over(session), 1);
    join(1, "/ws/a@trade", "", 2 * SECOND);
    assert_int_equal(tape_session_ended(session), 0);
    run(3 * SECOND);
    expect_from(&clients[1], 0, 20, 0);
}

/* Nothing is taken from the transport while nobody is there. */
static void test_nobody(void **state)
{
    (void)state;
    open_session(MESSAGES, 1, TAPE_OPTIONS_AT_END_CLOSE);
    join(0, "/ws/a@trade", "", 0);
    run(SECOND);
    drop(&clients[0]);
    assert_true(run(2 * SECOND) == INT64_MAX);
    assert_int_equal(tape_session_ended(session), 0);
    join(1, "/ws/b@trade", "", 3 * SECOND);
    for (int i = 0; i < 10000 && !tape_session_ended(session); i++) {
        read_all(&clients[1]);
        run(4 * SECOND);
    }
    assert_int_equal(tape_session_ended(session), 1);
}

static void test_bad_request(void **state)
{
    (void)state;
    open_session(10, 2, TAPE_OPTIONS_AT_END_CLOSE);
    join(0, "/ws", "", 0);
    char *request = malloc(400 << 10);
    memset(request, ' ', 400 << 10);
    tape_session_request(clients[0].member, request, 400 << 10, 0);
    assert_int_equal(clients[0].peer.state, TAPE_PEER_CLOSING);
    assert_int_equal(clients[0].peer.close_code, 1008);
    assert_true(told("session main: a client is closed: a request of more than 262144 bytes"));
    tape_session_request(clients[0].member, "{}", 2, 0); /* what comes yet is not answered */
    read_all(&clients[0]);
    assert_int_equal(clients[0].got[0] & 0xff, 0x88);
    free(request);
}

static void test_receipt(void **state)
{
    unsigned char sum[SHA256_DIGEST_LENGTH];
    char hex[65];
    (void)state;
    open_session(MESSAGES, 1, TAPE_OPTIONS_AT_END_HOLD); /* more than the digest holds back */
    server.options.queue_max_bytes = 8 << 20;
    assert_null(tape_session_take_receipt(session, 0));
    join(0, "/stream", "streams=a@trade", 0);
    run(SECOND);
    read_all(&clients[0]);
    assert_true(clients[0].got_bytes > 300 << 10);
    SHA256((unsigned char *)clients[0].got, clients[0].got_bytes, sum);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", sum[i]);
    tape_session_tell_receipt(session, SECOND, notices);
    assert_true(told("session main: 13654 messages in 13654 frames, "));
    cJSON *receipt = tape_session_take_receipt(session, SECOND);
    assert_non_null(receipt);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(receipt, "sha256")), hex);
    snprintf(hex, sizeof hex, "%zu", clients[0].got_bytes);
    assert_string_equal(cJSON_GetObjectItem(receipt, "sent_bytes")->valuestring, hex);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(receipt, "end")), "archive");
    cJSON_Delete(receipt);
    assert_null(tape_session_take_receipt(session, SECOND));
}

/* The time that a full client was waited for is taken out of time: what follows keeps its
 * distances. */
static void test_stretching(void **state)
{
    struct tape_transport_state before, after;
    struct timespec nap = {0, 300 * MS};
    struct tape_error error = {0};
    int64_t until_ns = INT64_MAX;
    (void)state;
    speed = 0.01; /* a message in 100 ms */
    open_session(20, 1, TAPE_OPTIONS_AT_END_HOLD);
    join(0, "/ws/a@trade", "", 0);
    assert_int_equal(tape_session_run(session, tape_pace_now(), &until_ns, &error), 0);
    server.options.queue_max_bytes = 0; /* full, whatever it holds */
    assert_int_equal(tape_session_run(session, tape_pace_now(), &until_ns, &error), 0);
    tape_transport_read_state(tape_session_transport(session), tape_pace_now(), &before);
    nanosleep(&nap, NULL);
    server.options.queue_max_bytes = 200;
    assert_int_equal(tape_session_run(session, tape_pace_now(), &until_ns, &error), 0);
    tape_transport_read_state(tape_session_transport(session), tape_pace_now(), &after);
    assert_true(after.stretched_ns - before.stretched_ns >= 150 * MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_gathering, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_waiting_for_the_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stuck, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_farewell, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hold_and_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_request, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_receipt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stretching, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
