#include "record/key.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <string.h>

int tape_key_random(void *to, size_t bytes)
{
    return RAND_bytes(to, (int)bytes) == 1 ? TAPE_OK : TAPE_FAILED;
}

int tape_key_make(char key[TAPE_HANDSHAKE_KEY_CHARS + 1], struct tape_error *error)
{
    unsigned char bytes[16];
    if (tape_key_random(bytes, sizeof bytes))
        return tape_error_set(error, TAPE_FAILED, "the system gives no random bytes");
    EVP_EncodeBlock((unsigned char *)key, bytes, sizeof bytes);
    return TAPE_OK;
}

void tape_key_accept(const char *key, char accept[TAPE_HANDSHAKE_ACCEPT_CHARS + 1])
{
    unsigned char text[TAPE_HANDSHAKE_KEY_CHARS + sizeof TAPE_HANDSHAKE_GUID];
    unsigned char digest[SHA_DIGEST_LENGTH];
    memcpy(text, key, TAPE_HANDSHAKE_KEY_CHARS);
    memcpy(text + TAPE_HANDSHAKE_KEY_CHARS, TAPE_HANDSHAKE_GUID, sizeof TAPE_HANDSHAKE_GUID - 1);
    SHA1(text, sizeof text - 1, digest);
    EVP_EncodeBlock((unsigned char *)accept, digest, sizeof digest);
}
