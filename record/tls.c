#include "record/tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

struct tape_tls_context {
    SSL_CTX *ssl;
    BIO_METHOD *method;
};

/* Invariants: OpenSSL's error queue of the thread is empty between calls (SSL_get_error would
 * misread it, and emptying it before each call would cost); ended is set by the first read or
 * handshake that returned an end, after which none reaches OpenSSL again. A failed write sets
 * unsendable alone: what the peer sent before it went is still there to be read. */
struct tape_tls {
    SSL *ssl;
    struct tape_stamp *stamp;
    int ended, unsendable;
    int wants_write;
    int system_errno; /* of the last failed socket call */
};

/* ---- the socket as OpenSSL sees it ---- */

static int bio_read(BIO *bio, char *to, int bytes)
{
    struct tape_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t got = tape_stamp_read_adaptive(tls->stamp, to, (size_t)bytes);
    if (got < 0) {
        if (errno == EAGAIN)
            BIO_set_retry_read(bio);
        else
            tls->system_errno = errno;
    }
    return (int)got;
}

static int bio_write(BIO *bio, const char *from, int bytes)
{
    struct tape_tls *tls = BIO_get_data(bio);
    ssize_t put;
    BIO_clear_retry_flags(bio);
    do
        put = send(tls->stamp->fd, from, (size_t)bytes, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    if (put < 0) {
        if (errno == EAGAIN)
            BIO_set_retry_write(bio);
        else
            tls->system_errno = errno;
    }
    return (int)put;
}

/* Without an answer to EOF a FIN in mid stream would have no name; PENDING is part of a BIO that
 * holds bytes. */
static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    struct tape_tls *tls = BIO_get_data(bio);
    (void)number;
    (void)pointer;
    switch (command) {
    case BIO_CTRL_EOF:
        return tls->stamp->ended;
    case BIO_CTRL_PENDING:
        return (long)tape_stamp_ahead_bytes(tls->stamp);
    case BIO_CTRL_FLUSH:
        return 1;
    default:
        return 0;
    }
}

static BIO_METHOD *make_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stamped socket");
    if (method && BIO_meth_set_read(method, bio_read) && BIO_meth_set_write(method, bio_write) &&
        BIO_meth_set_ctrl(method, bio_control))
        return method;
    BIO_meth_free(method);
    return NULL;
}

/* ---- what all connections share ---- */

/* The words for the error that OpenSSL queued first, and an empty queue. */
static const char *first_reason(void)
{
    unsigned long code = ERR_get_error();
    const char *words = code ? ERR_reason_error_string(code) : NULL;
    if (code && ERR_SYSTEM_ERROR(code))
        words = strerrordesc_np(ERR_GET_REASON(code));
    ERR_clear_error();
    return words ? words : "OpenSSL gives no reason";
}

static int set_policy(SSL_CTX *ssl)
{
    static const unsigned char http_1_1[] = "\x08http/1.1";
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_security_level(ssl, 2);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    return SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_alpn_protos(ssl, http_1_1, sizeof http_1_1 - 1) == 0;
}

struct tape_tls_context *tape_tls_context_new(const char *ca_file, struct tape_error *error)
{
    struct tape_tls_context *context = calloc(1, sizeof *context);
    if (!context) {
        tape_error_errno(error, errno, "make a TLS context");
        return NULL;
    }
    context->ssl = SSL_CTX_new(TLS_client_method());
    context->method = make_method();
    if (!context->ssl || !context->method || !set_policy(context->ssl)) {
        tape_error_set(error, TAPE_FAILED, "make a TLS context: %s", first_reason());
    } else if (ca_file && SSL_CTX_load_verify_file(context->ssl, ca_file) != 1) {
        tape_error_set(error, TAPE_FAILED, "CA file \"%.700s\": %s", ca_file, first_reason());
    } else if (!ca_file && SSL_CTX_set_default_verify_paths(context->ssl) != 1) {
        tape_error_set(error, TAPE_FAILED, "the system's certificates: %s", first_reason());
    } else {
        ERR_clear_error();
        return context;
    }
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

/* The name that the certificate must bear. OpenSSL would take the common name where a certificate
 * has no alternative names: not here. SNI is for names only (RFC 6066 section 3). */
static int set_identity(SSL *ssl, const struct tape_url *url)
{
    SSL_set_hostflags(ssl,
                      X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (url->family)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), url->host) == 1;
    return SSL_set1_host(ssl, url->host) == 1 && SSL_set_tlsext_host_name(ssl, url->host) == 1;
}

struct tape_tls *tape_tls_new(struct tape_tls_context *context, const struct tape_url *url,
                              struct tape_stamp *stamp, struct tape_error *error)
{
    struct tape_tls *tls = calloc(1, sizeof *tls);
    BIO *bio = tls ? BIO_new(context->method) : NULL;
    if (bio && (tls->ssl = SSL_new(context->ssl)) && set_identity(tls->ssl, url)) {
        BIO_set_data(bio, tls);
        BIO_set_init(bio, 1);
        SSL_set_bio(tls->ssl, bio, bio);
        SSL_set_connect_state(tls->ssl);
        tls->stamp = stamp;
        return tls;
    }
    tape_error_set(error, TAPE_FAILED, "make a TLS connection: %s", first_reason());
    BIO_free(bio);
    if (tls)
        SSL_free(tls->ssl);
    free(tls);
    return NULL;
}

void tape_tls_free(struct tape_tls *tls)
{
    if (!tls)
        return;
    if (!tls->ended && !tls->unsendable && SSL_is_init_finished(tls->ssl))
        SSL_shutdown(tls->ssl);
    SSL_free(tls->ssl);
    ERR_clear_error();
    free(tls);
}

/* What OpenSSL's call that returned ${result} <= 0 means: 0 to try again, else an end. */
static int end_of(struct tape_tls *tls, int result, struct tape_error *error)
{
    int why = SSL_get_error(tls->ssl, result), end = TAPE_TLS_BROKEN;
    tls->wants_write = why == SSL_ERROR_WANT_WRITE;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return 0;
    unsigned long code = ERR_peek_error();
    int truncated = ERR_GET_LIB(code) == ERR_LIB_SSL &&
                    ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    if (why == SSL_ERROR_ZERO_RETURN)
        end = TAPE_TLS_CLOSED;
    else if (truncated || (why == SSL_ERROR_SYSCALL && !tls->system_errno))
        end = TAPE_TLS_TRUNCATED;
    else if (why == SSL_ERROR_SYSCALL)
        end = TAPE_TLS_SYSTEM;
    if (end == TAPE_TLS_BROKEN)
        tape_error_set(error, TAPE_PROTOCOL, "tls: %s", first_reason());
    ERR_clear_error();
    errno = tls->system_errno;
    return end;
}

int tape_tls_handshake(struct tape_tls *tls, struct tape_error *error)
{
    int result = SSL_do_handshake(tls->ssl);
    if (result == 1)
        return 1;
    int end = end_of(tls, result, error);
    long verdict = SSL_get_verify_result(tls->ssl);
    if (end == TAPE_TLS_BROKEN && verdict != X509_V_OK) {
        end = TAPE_TLS_CERTIFICATE;
        tape_error_set(error, TAPE_PROTOCOL, "certificate: %s",
                       X509_verify_cert_error_string(verdict));
    } else if (end == TAPE_TLS_CLOSED || end == TAPE_TLS_TRUNCATED) {
        tape_error_set(error, TAPE_CLOSED, "tls: the server closed during the handshake");
    } else if (end == TAPE_TLS_SYSTEM) {
        tape_error_errno(error, tls->system_errno, "tls");
    }
    return tls->ended = end;
}

int64_t tape_tls_read(struct tape_tls *tls, void *to, size_t bytes, struct tape_error *error)
{
    if (tls->ended)
        return tls->ended;
    int room = bytes > TAPE_TLS_RECORD_BYTES ? TAPE_TLS_RECORD_BYTES : (int)bytes;
    int got = SSL_read(tls->ssl, to, room);
    return got > 0 ? got : (tls->ended = end_of(tls, got, error));
}

int64_t tape_tls_write(struct tape_tls *tls, const void *from, size_t bytes,
                       struct tape_error *error)
{
    if (tls->ended)
        return tls->ended;
    int put = SSL_write(tls->ssl, from, (int)bytes);
    if (put > 0)
        return put;
    int end = end_of(tls, put, error);
    tls->unsendable = end != 0;
    return end;
}

int tape_tls_wants_write(const struct tape_tls *tls)
{
    return tls->wants_write;
}

int tape_tls_held(const struct tape_tls *tls)
{
    return tape_stamp_ahead_bytes(tls->stamp) > 0 || SSL_pending(tls->ssl) > 0;
}

const char *tape_tls_version(const struct tape_tls *tls)
{
    return SSL_get_version(tls->ssl);
}

const char *tape_tls_cipher(const struct tape_tls *tls)
{
    return SSL_get_cipher_name(tls->ssl);
}

void tape_tls_fingerprint(const struct tape_tls *tls, char to[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned bytes = 0;
    X509 *peer = SSL_get0_peer_certificate(tls->ssl);
    to[0] = '\0';
    if (!peer || X509_digest(peer, EVP_sha256(), digest, &bytes) != 1 || bytes != 32)
        return;
    for (unsigned i = 0; i < bytes; i++)
        snprintf(to + (size_t)2 * i, 3, "%02x", digest[i]);
}
