/* libwslay over its own blocking OpenSSL loop: wslay_client PORT CA MESSAGES [latency] */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wslay/wslay.h>

#include "tests/bench/report.h"

struct client {
    SSL *ssl;
    struct bench_report report;
    int done;
};

static ssize_t on_recv(wslay_event_context_ptr context, uint8_t *to, size_t room, int flags,
                       void *user_data)
{
    (void)flags;
    struct client *client = user_data;
    int got = SSL_read(client->ssl, to, (int)room);
    if (got <= 0)
        wslay_event_set_error(context, WSLAY_ERR_CALLBACK_FAILURE);
    return got > 0 ? got : -1;
}

static ssize_t on_send(wslay_event_context_ptr context, const uint8_t *data, size_t bytes,
                       int flags, void *user_data)
{
    (void)context;
    (void)flags;
    return SSL_write(((struct client *)user_data)->ssl, data, (int)bytes);
}

static int on_mask(wslay_event_context_ptr context, uint8_t *to, size_t bytes, void *user_data)
{
    (void)context;
    (void)user_data;
    memset(to, 7, bytes);
    return 0;
}

static void on_message(wslay_event_context_ptr context,
                       const struct wslay_event_on_msg_recv_arg *message, void *user_data)
{
    struct client *client = user_data;
    if (bench_report_message(&client->report, (const char *)message->msg, message->msg_length)) {
        client->done = 1;
        wslay_event_shutdown_read(context);
    }
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    struct client client = {0};
    bench_report_begin(&client.report, "libwslay", strtoull(argv[3], NULL, 10), argc > 4);
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_load_verify_locations(tls, argv[2], NULL);
    SSL_CTX_set_read_ahead(tls, 1);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)strtol(argv[1], NULL, 10)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (connect(fd, (struct sockaddr *)&address, sizeof address))
        return 1;
    client.ssl = SSL_new(tls);
    SSL_set_fd(client.ssl, fd);
    SSL_set1_host(client.ssl, "localhost");
    if (SSL_connect(client.ssl) != 1)
        return 1;
    static const char request[] =
        "GET /stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    SSL_write(client.ssl, request, sizeof request - 1);
    char head[2048];
    for (size_t used = 0; used < sizeof head - 1;) { /* byte by byte: frames may follow at once */
        if (SSL_read(client.ssl, head + used, 1) != 1)
            return 1;
        head[++used] = 0;
        if (used >= 4 && !memcmp(head + used - 4, "\r\n\r\n", 4))
            break;
    }
    struct wslay_event_callbacks callbacks = {on_recv, on_send, on_mask,   NULL,
                                              NULL,    NULL,    on_message};
    wslay_event_context_ptr context;
    wslay_event_context_client_init(&context, &callbacks, &client);
    wslay_event_config_set_max_recv_msg_length(context, 16 << 20);
    while (!client.done && wslay_event_want_read(context))
        if (wslay_event_recv(context) != 0)
            return 1;
    bench_report_end(&client.report);
    return 0;
}
