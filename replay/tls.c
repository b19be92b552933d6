#include "replay/tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct tape_tls_context {
    SSL_CTX *ssl;
    BIO_METHOD *method;
};

/* Invariants: OpenSSL's error queue of the thread is empty between calls; out is set during a call
 * only; ended is set by the first call that met an end, after which none reaches OpenSSL, but that
 * one may still write to a peer that will say no more. */
struct tape_tls {
    SSL *ssl;
    struct tape_growing *out;
    int fd, ended;
    int drained;     /* the socket had no more */
    int hung_up;     /* the socket is at its end */
    size_t may_read; /* in this call: a peer that sends without end must not keep us here */
};

/* ---- the socket as OpenSSL sees it ---- */

static int bio_read(BIO *bio, char *to, int bytes)
{
    struct tape_tls *tls = BIO_get_data(bio);
    ssize_t got = -1;
    BIO_clear_retry_flags(bio);
    if (tls->may_read > 0) {
        do
            got = recv(tls->fd, to, (size_t)bytes, 0);
        while (got < 0 && errno == EINTR);
        tls->drained = got < 0;
        tls->hung_up = got == 0;
        tls->may_read -= got > 0 && (size_t)got < tls->may_read ? (size_t)got : tls->may_read;
        if (got >= 0)
            return (int)got;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return -1;
    }
    BIO_set_retry_read(bio);
    return -1;
}

static int bio_write(BIO *bio, const char *from, int bytes)
{
    struct tape_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    tape_growing_put(tls->out, from, (size_t)bytes);
    return tls->out->failed ? -1 : bytes;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    struct tape_tls *tls = BIO_get_data(bio);
    (void)number, (void)pointer;
    if (command == BIO_CTRL_EOF)
        return tls->hung_up;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *make_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "peer");
    if (method && BIO_meth_set_read(method, bio_read) && BIO_meth_set_write(method, bio_write) &&
        BIO_meth_set_ctrl(method, bio_control))
        return method;
    BIO_meth_free(method);
    return NULL;
}

/* ---- what all connections share ---- */

static const char *first_reason(void)
{
    unsigned long code = ERR_get_error();
    const char *words = code ? ERR_reason_error_string(code) : NULL;
    if (code && ERR_SYSTEM_ERROR(code))
        words = strerrordesc_np(ERR_GET_REASON(code));
    ERR_clear_error();
    return words ? words : "OpenSSL gives no reason";
}

/* Browsers offer h2 as well; who offers only what we do not speak is told at the HTTP level. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_bytes,
                           const unsigned char *in, unsigned in_bytes, void *context)
{
    static const unsigned char http_1_1[] = "\x08http/1.1";
    unsigned char *chosen;
    (void)ssl, (void)context;
    if (SSL_select_next_proto(&chosen, out_bytes, http_1_1, sizeof http_1_1 - 1, in, in_bytes) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int set_policy(SSL_CTX *ssl)
{
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(ssl, choose_protocol, NULL);
    return SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_num_tickets(ssl, 0) == 1;
}

/* Without this OpenSSL would ask the terminal. */
static int no_passphrase(char *to, int room, int writing, void *context)
{
    (void)to, (void)room, (void)writing;
    *(int *)context = 1;
    return -1;
}

static void refuse_file(const char *kind, const char *name, int encrypted, struct tape_error *error)
{
    int unread = ERR_SYSTEM_ERROR(ERR_peek_error());
    const char *reason = first_reason();
    if (encrypted)
        reason = "it is encrypted: give one without a passphrase";
    tape_error_set(error, TAPE_FAILED, "%s file \"%.300s\": %s%s", kind, name,
                   unread || encrypted ? "" : "it holds none in PEM: ", reason);
}

static int load(SSL_CTX *ssl, const char *certificate, const char *key, struct tape_error *error)
{
    int encrypted = 0;
    SSL_CTX_set_default_passwd_cb(ssl, no_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(ssl, &encrypted);
    if (SSL_CTX_use_certificate_chain_file(ssl, certificate) != 1) {
        refuse_file("certificate", certificate, 0, error);
        return 0;
    }
    int loaded = SSL_CTX_use_PrivateKey_file(ssl, key, SSL_FILETYPE_PEM) == 1;
    if (!loaded && ERR_GET_LIB(ERR_peek_error()) != ERR_LIB_X509) {
        refuse_file("key", key, encrypted, error);
        return 0;
    }
    if (loaded && SSL_CTX_check_private_key(ssl) == 1)
        return 1;
    tape_error_set(error, TAPE_FAILED, "key file \"%.300s\" is not the key of \"%.300s\"", key,
                   certificate);
    return 0;
}

struct tape_tls_context *tape_tls_context_new(const char *certificate, const char *key,
                                              struct tape_error *error)
{
    struct tape_tls_context *context = calloc(1, sizeof *context);
    if (!context) {
        tape_error_errno(error, errno, "make a TLS context");
        return NULL;
    }
    context->ssl = SSL_CTX_new(TLS_server_method());
    context->method = make_method();
    if (!context->ssl || !context->method || !set_policy(context->ssl)) {
        tape_error_set(error, TAPE_FAILED, "make a TLS context: %s", first_reason());
    } else if (load(context->ssl, certificate, key, error)) {
        ERR_clear_error();
        return context;
    }
    ERR_clear_error();
    tape_tls_context_free(context);
    return NULL;
}

void tape_tls_context_free(struct tape_tls_context *context)
{
    if (!context)
        return;
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->method);
    free(context);
}

/* ---- one connection ---- */

struct tape_tls *tape_tls_new(struct tape_tls_context *context, int fd)
{
    struct tape_tls *tls = calloc(1, sizeof *tls);
    BIO *bio = tls ? BIO_new(context->method) : NULL;
    if (bio && (tls->ssl = SSL_new(context->ssl))) {
        tls->fd = fd;
        BIO_set_data(bio, tls);
        BIO_set_init(bio, 1);
        SSL_set_bio(tls->ssl, bio, bio);
        SSL_set_accept_state(tls->ssl);
        return tls;
    }
    BIO_free(bio);
    free(tls);
    ERR_clear_error();
    return NULL;
}

void tape_tls_free(struct tape_tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    ERR_clear_error();
    free(tls);
}

static void begin(struct tape_tls *tls, struct tape_growing *out)
{
    tls->out = out;
    tls->may_read = TAPE_TLS_VISIT_BYTES;
    tls->drained = 0;
}

/* What OpenSSL's call that returned ${result} <= 0 means: 0 to try again, else an end. */
static int end_of(struct tape_tls *tls, int result)
{
    int why = SSL_get_error(tls->ssl, result);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return 0;
    int reason = ERR_GET_REASON(ERR_peek_error());
    tls->ended = TAPE_TLS_BROKEN;
    if (why == SSL_ERROR_ZERO_RETURN || tls->hung_up)
        tls->ended = TAPE_TLS_CLOSED;
    else if (tls->out->failed || why == SSL_ERROR_SYSCALL)
        tls->ended = TAPE_TLS_NO_MEMORY;
    else if (why == SSL_ERROR_SSL && reason == SSL_R_HTTP_REQUEST)
        tls->ended = TAPE_TLS_IS_HTTP;
    ERR_clear_error();
    return tls->ended;
}

int tape_tls_handshake(struct tape_tls *tls, struct tape_growing *out)
{
    if (tls->ended)
        return tls->ended;
    begin(tls, out);
    int result = SSL_do_handshake(tls->ssl);
    return result == 1 ? 1 : end_of(tls, result);
}

int64_t tape_tls_read(struct tape_tls *tls, void *to, size_t bytes, struct tape_growing *out)
{
    if (tls->ended)
        return tls->ended;
    begin(tls, out);
    int got =
        SSL_read(tls->ssl, to, bytes > TAPE_TLS_RECORD_BYTES ? TAPE_TLS_RECORD_BYTES : (int)bytes);
    return got > 0 ? got : end_of(tls, got);
}

int tape_tls_drained(const struct tape_tls *tls)
{
    return tls->drained;
}

int tape_tls_seal(struct tape_tls *tls, const void *from, size_t bytes, struct tape_growing *out)
{
    if (tls->ended && tls->ended != TAPE_TLS_CLOSED) /* who will say no more may still listen */
        return tls->ended;
    begin(tls, out);
    int put = SSL_write(tls->ssl, from, (int)bytes);
    if (put == (int)bytes)
        return 0;
    int end = end_of(tls, put);
    return end ? end : (tls->ended = TAPE_TLS_BROKEN);
}

void tape_tls_finish(struct tape_tls *tls, struct tape_growing *out)
{
    if ((tls->ended && tls->ended != TAPE_TLS_CLOSED) || !SSL_is_init_finished(tls->ssl))
        return;
    begin(tls, out);
    SSL_shutdown(tls->ssl);
    ERR_clear_error();
}
