/* The floor: SSL_read and nothing else. Counts bytes, knows no frames; stops after --bytes. */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/report.h"

/* floor_client PORT CA MESSAGES STREAM_BYTES: bytes of the whole stream after the upgrade. */
int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    uint64_t messages = strtoull(argv[3], NULL, 10), wanted = strtoull(argv[4], NULL, 10);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_load_verify_locations(context, argv[2], NULL);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)strtol(argv[1], NULL, 10)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (connect(fd, (struct sockaddr *)&address, sizeof address))
        return 1;
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    SSL_set1_host(ssl, "localhost");
    if (SSL_connect(ssl) != 1)
        return 1;
    static const char request[] =
        "GET /stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    SSL_write(ssl, request, sizeof request - 1);
    static char buffer[1 << 16];
    int got = SSL_read(ssl, buffer, sizeof buffer);
    char *head_end = got > 0 ? memmem(buffer, (size_t)got, "\r\n\r\n", 4) : NULL;
    if (!head_end)
        return 1;
    uint64_t total = (uint64_t)(buffer + got - (head_end + 4)); /* frames came with the head */
    struct bench_report report;
    bench_report_begin(&report, "bare SSL_read", messages, 0);
    report.first_cpu_ns = bench_now_ns(CLOCK_THREAD_CPUTIME_ID);
    report.first_wall_ns = bench_now_ns(CLOCK_MONOTONIC);
    for (; total < wanted; total += (uint64_t)got) {
        got = SSL_read(ssl, buffer, sizeof buffer);
        if (got <= 0)
            return 1;
        report.payload_bytes += (uint64_t)got;
    }
    report.messages = messages;
    bench_report_end(&report);
    return 0;
}
