/*
 * The sending end of the benchmark: a TLS WebSocket server that sends prepared messages flat out or
 * at a rate, one frame a TLS record or many, to one client or to several.
 *
 *   sender --cert FILE --key FILE --port-file FILE --count N
 *          [--lines FILE] [--rate N] [--record frame|many] [--connections N] [--after FILE]
 * [--plain]
 *
 * Without --lines the messages are 280 bytes and carry their send time. --after names a file of
 * --count int64: the clock right after each send returned (one connection).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/report.h"

enum { STAMPED_BYTES = 280, CHUNK_BYTES = 64 << 10, RECORD_BYTES = 16 << 10, CLIENTS_MAX = 1024 };

struct options {
    const char *cert, *key, *port_file, *lines, *after;
    uint64_t count;
    double rate;
    int many, connections, plain;
};

/* All frames one after the other; offset[i] to offset[i + 1] is the ith. */
struct frames {
    uint8_t *data;
    uint64_t *offset;
    uint64_t count;
};

struct client {
    int fd;
    SSL *ssl;
    BIO *out; /* memory: TLS records wait here until they are sent together */
};

static void die(const char *words)
{
    perror(words);
    exit(1);
}

static size_t put_header(uint8_t *to, size_t bytes)
{
    to[0] = 0x81;
    if (bytes < 126) {
        to[1] = (uint8_t)bytes;
        return 2;
    }
    if (bytes < 65536) {
        to[1] = 126;
        to[2] = (uint8_t)(bytes >> 8);
        to[3] = (uint8_t)bytes;
        return 4;
    }
    to[1] = 127;
    for (int i = 0; i < 8; i++)
        to[2 + i] = (uint8_t)((uint64_t)bytes >> (56 - 8 * i));
    return 10;
}

static void load_lines(struct frames *frames, const char *path, uint64_t count)
{
    FILE *file = fopen(path, "r");
    if (!file)
        die(path);
    char *line = NULL;
    size_t room = 0, capacity = 0, used = 0;
    ssize_t got;
    frames->offset = calloc(count + 1, sizeof *frames->offset);
    while (frames->count < count && (got = getline(&line, &room, file)) > 0) {
        char *payload = strchr(line, ' ');
        if (!payload)
            continue;
        size_t bytes = (size_t)(line + got - ++payload);
        if (bytes && payload[bytes - 1] == '\n')
            bytes--;
        if (used + bytes + 14 > capacity) {
            capacity = (capacity + bytes + 14) * 2;
            frames->data = realloc(frames->data, capacity);
        }
        frames->offset[frames->count++] = used;
        used += put_header(frames->data + used, bytes);
        memcpy(frames->data + used, payload, bytes);
        used += bytes;
    }
    frames->offset[frames->count] = used;
    free(line);
    fclose(file);
}

static void make_stamped(struct frames *frames)
{
    frames->data = malloc(STAMPED_BYTES + 14);
    frames->offset = calloc(2, sizeof *frames->offset);
    size_t head = put_header(frames->data, STAMPED_BYTES);
    memset(frames->data + head, 'x', STAMPED_BYTES);
    memcpy(frames->data + head, BENCH_STAMP_PREFIX, sizeof BENCH_STAMP_PREFIX - 1);
    memcpy(frames->data + head + sizeof BENCH_STAMP_PREFIX - 1 + BENCH_STAMP_DIGITS,
           "\",\"pad\":\"", 9);
    memcpy(frames->data + head + STAMPED_BYTES - 3, "\"}}", 3);
    frames->offset[1] = head + STAMPED_BYTES;
    frames->count = 1;
}

static void put_stamp(uint8_t *frame)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%019lld", (long long)bench_now_ns(CLOCK_REALTIME));
    memcpy(frame + 4 + sizeof BENCH_STAMP_PREFIX - 1, digits, BENCH_STAMP_DIGITS);
}

static void send_all(int fd, const void *data, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t sent = send(fd, (const char *)data + done, bytes - done, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            exit(0); /* the client has what it wanted */
        done += (size_t)sent;
    }
}

static void flush_records(struct client *client)
{
    char *data;
    long bytes = BIO_get_mem_data(client->out, &data);
    if (bytes > 0)
        send_all(client->fd, data, (size_t)bytes);
    (void)BIO_reset(client->out);
}

static void put_bytes(struct client *client, const uint8_t *data, size_t bytes)
{
    if (!client->ssl)
        send_all(client->fd, data, bytes);
    else if (SSL_write(client->ssl, data, (int)bytes) <= 0)
        exit(1);
}

static void answer_upgrade(struct client *client)
{
    char request[8192];
    size_t used = 0;
    while (used < sizeof request - 1) {
        ssize_t got = client->ssl
                          ? SSL_read(client->ssl, request + used, (int)(sizeof request - 1 - used))
                          : read(client->fd, request + used, sizeof request - 1 - used);
        if (got <= 0)
            exit(1);
        used += (size_t)got;
        request[used] = 0;
        if (strstr(request, "\r\n\r\n"))
            break;
    }
    char *key = strcasestr(request, "sec-websocket-key:");
    if (!key)
        exit(1);
    key += strspn(key + 18, " ") + 18;
    char joined[128], accept[64], answer[256];
    snprintf(joined, sizeof joined, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    unsigned char hash[SHA_DIGEST_LENGTH];
    SHA1((unsigned char *)joined, strlen(joined), hash);
    EVP_EncodeBlock((unsigned char *)accept, hash, sizeof hash);
    int bytes = snprintf(answer, sizeof answer,
                         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                         "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                         accept);
    put_bytes(client, (uint8_t *)answer, (size_t)bytes);
    if (client->ssl)
        flush_records(client);
}

static struct client accept_client(int listener, SSL_CTX *context)
{
    struct client client = {.fd = accept(listener, NULL, NULL)};
    int one = 1;
    setsockopt(client.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (context) {
        client.ssl = SSL_new(context);
        SSL_set_fd(client.ssl, client.fd);
        if (SSL_accept(client.ssl) != 1)
            exit(1);
        client.out = BIO_new(BIO_s_mem()); /* only now: a handshake must not wait in memory */
        SSL_set0_wbio(client.ssl, client.out);
    }
    answer_upgrade(&client);
    return client;
}

/* As fast as the socket takes: records are made in memory and sent 64 KiB at a time. */
static void send_flood(struct client *client, const struct frames *frames,
                       const struct options *options)
{
    static uint8_t chunk[CHUNK_BYTES * 2];
    size_t used = 0;
    for (uint64_t i = 0; i < options->count; i++) {
        uint64_t at = i % frames->count;
        size_t bytes = (size_t)(frames->offset[at + 1] - frames->offset[at]);
        if (options->many && used + bytes > RECORD_BYTES && used) {
            put_bytes(client, chunk, used);
            used = 0;
        }
        if (options->many && bytes <= RECORD_BYTES) {
            memcpy(chunk + used, frames->data + frames->offset[at], bytes);
            used += bytes;
        } else {
            put_bytes(client, frames->data + frames->offset[at], bytes);
        }
        char *unused;
        if (client->ssl && BIO_get_mem_data(client->out, &unused) >= CHUNK_BYTES)
            flush_records(client);
    }
    if (used)
        put_bytes(client, chunk, used);
    if (client->ssl)
        flush_records(client);
}

/* At a rate, to each client in turn, by absolute deadlines; spins so that the sender is not what is
 * late. */
static void send_paced(struct client *clients, struct frames *frames, const struct options *options,
                       int64_t *after)
{
    int64_t start = bench_now_ns(CLOCK_MONOTONIC) + 200000000;
    for (uint64_t i = 0; i < options->count; i++) {
        int64_t due = start + (int64_t)((double)i * 1e9 / options->rate);
        while (bench_now_ns(CLOCK_MONOTONIC) < due)
            ;
        struct client *client = &clients[i % (uint64_t)options->connections];
        uint64_t at = i % frames->count;
        if (!options->lines)
            put_stamp(frames->data);
        put_bytes(client, frames->data + frames->offset[at],
                  (size_t)(frames->offset[at + 1] - frames->offset[at]));
        if (client->ssl)
            flush_records(client);
        if (after)
            after[i] = bench_now_ns(CLOCK_REALTIME);
    }
}

static struct options read_options(int argc, char **argv)
{
    static const struct option table[] = {{"cert", 1, 0, 'c'},
                                          {"key", 1, 0, 'k'},
                                          {"port-file", 1, 0, 'p'},
                                          {"count", 1, 0, 'n'},
                                          {"lines", 1, 0, 'l'},
                                          {"rate", 1, 0, 'r'},
                                          {"record", 1, 0, 'm'},
                                          {"connections", 1, 0, 'x'},
                                          {"after", 1, 0, 'a'},
                                          {"plain", 0, 0, 'w'},
                                          {0}};
    struct options options = {.connections = 1, .count = 100000};
    for (int option; (option = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        switch (option) {
        case 'c':
            options.cert = optarg;
            break;
        case 'k':
            options.key = optarg;
            break;
        case 'p':
            options.port_file = optarg;
            break;
        case 'n':
            options.count = strtoull(optarg, NULL, 10);
            break;
        case 'l':
            options.lines = optarg;
            break;
        case 'r':
            options.rate = strtod(optarg, NULL);
            break;
        case 'm':
            options.many = !strcmp(optarg, "many");
            break;
        case 'x':
            options.connections = (int)strtol(optarg, NULL, 10);
            break;
        case 'a':
            options.after = optarg;
            break;
        case 'w':
            options.plain = 1;
            break;
        default:
            exit(2);
        }
    }
    if (options.connections < 1 || options.connections > CLIENTS_MAX)
        exit(2);
    return options;
}

static int listen_loopback(const char *port_file)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, CLIENTS_MAX))
        die("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    FILE *file = fopen(port_file, "w");
    if (!file)
        die(port_file);
    fprintf(file, "%d\n", ntohs(address.sin_port));
    fclose(file);
    return listener;
}

static int64_t *map_after(const struct options *options)
{
    if (!options->after)
        return NULL;
    int fd = open(options->after, O_RDWR | O_CREAT | O_TRUNC, 0600);
    size_t bytes = options->count * sizeof(int64_t);
    if (fd < 0 || ftruncate(fd, (off_t)bytes))
        die(options->after);
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
}

int main(int argc, char **argv)
{
    struct options options = read_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    struct frames frames = {0};
    if (options.lines)
        load_lines(&frames, options.lines, options.count);
    else
        make_stamped(&frames);
    SSL_CTX *context = NULL;
    if (!options.plain) {
        context = SSL_CTX_new(TLS_server_method());
        if (SSL_CTX_use_certificate_chain_file(context, options.cert) != 1 ||
            SSL_CTX_use_PrivateKey_file(context, options.key, SSL_FILETYPE_PEM) != 1)
            die("certificate");
    }
    int64_t *after = map_after(&options);
    int listener = listen_loopback(options.port_file);
    static struct client clients[CLIENTS_MAX];
    for (int i = 0; i < options.connections; i++)
        clients[i] = accept_client(listener, context);
    if (options.rate > 0)
        send_paced(clients, &frames, &options, after);
    else
        send_flood(&clients[0], &frames, &options);
    pause(); /* the client hangs up by ending; whoever started us ends us */
    return 0;
}
