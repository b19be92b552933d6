#include "replay/digest.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Fewer bytes than this are hashed faster than a thread is woken. */
enum { DIGEST_INLINE_BYTES = 32 << 10 };

/*
 * Invariants: while bytes > 0 the worker owns sha and reads data; while bytes == 0 the caller owns
 * sha. failed only ever becomes 1.
 */
struct tape_digest {
    EVP_MD_CTX *sha;
    int failed;
    pthread_t worker;
    int worker_runs;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    const void *data;
    size_t bytes;
    int quit;
};

static void *work(void *context)
{
    struct tape_digest *digest = context;
    pthread_mutex_lock(&digest->mutex);
    for (;;) {
        while (digest->bytes == 0 && !digest->quit)
            pthread_cond_wait(&digest->changed, &digest->mutex);
        if (digest->bytes == 0)
            break;
        pthread_mutex_unlock(&digest->mutex);
        int good = EVP_DigestUpdate(digest->sha, digest->data, digest->bytes);
        pthread_mutex_lock(&digest->mutex);
        digest->failed |= !good;
        digest->bytes = 0;
        pthread_cond_signal(&digest->changed);
    }
    pthread_mutex_unlock(&digest->mutex);
    return NULL;
}

struct tape_digest *tape_digest_new(struct tape_error *error)
{
    struct tape_digest *digest = calloc(1, sizeof *digest);
    if (digest)
        digest->sha = EVP_MD_CTX_new();
    if (!digest || !digest->sha || !EVP_DigestInit_ex(digest->sha, EVP_sha256(), NULL)) {
        if (digest)
            EVP_MD_CTX_free(digest->sha);
        free(digest);
        tape_error_set(error, TAPE_FAILED, "SHA-256: libcrypto cannot begin a digest");
        return NULL;
    }
    pthread_mutex_init(&digest->mutex, NULL);
    pthread_cond_init(&digest->changed, NULL);
    return digest;
}

static void wait_idle(struct tape_digest *digest)
{
    pthread_mutex_lock(&digest->mutex);
    while (digest->bytes > 0)
        pthread_cond_wait(&digest->changed, &digest->mutex);
    pthread_mutex_unlock(&digest->mutex);
}

void tape_digest_free(struct tape_digest *digest)
{
    if (!digest)
        return;
    if (digest->worker_runs) {
        pthread_mutex_lock(&digest->mutex);
        digest->quit = 1;
        pthread_cond_signal(&digest->changed);
        pthread_mutex_unlock(&digest->mutex);
        pthread_join(digest->worker, NULL);
    }
    pthread_cond_destroy(&digest->changed);
    pthread_mutex_destroy(&digest->mutex);
    EVP_MD_CTX_free(digest->sha);
    free(digest);
}

void tape_digest_update(struct tape_digest *digest, const void *data, size_t bytes)
{
    if (digest->worker_runs)
        wait_idle(digest);
    if (!digest->worker_runs && bytes >= DIGEST_INLINE_BYTES)
        digest->worker_runs = pthread_create(&digest->worker, NULL, work, digest) == 0;
    if (!digest->worker_runs || bytes < DIGEST_INLINE_BYTES) {
        digest->failed |= !EVP_DigestUpdate(digest->sha, data, bytes);
        return;
    }
    pthread_mutex_lock(&digest->mutex);
    digest->data = data;
    digest->bytes = bytes;
    pthread_cond_signal(&digest->changed);
    pthread_mutex_unlock(&digest->mutex);
}

void tape_digest_text(struct tape_digest *digest, char text[TAPE_DIGEST_TEXT_BYTES])
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned int bytes = 0;
    wait_idle(digest);
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    text[0] = '\0';
    if (!digest->failed && copy && EVP_MD_CTX_copy_ex(copy, digest->sha) &&
        EVP_DigestFinal_ex(copy, sum, &bytes) && bytes == 32)
        for (unsigned int i = 0; i < bytes; i++)
            snprintf(text + 2 * i, 3, "%02x", sum[i]);
    EVP_MD_CTX_free(copy);
}
