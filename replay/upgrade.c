#include "replay/upgrade.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

/* 16 bytes in base64 are 22 characters and "=="; the last of them carries 2 bits only. */
static int key_is_sound(struct tape_slice key)
{
    static const char last[] = "AQgw";
    if (key.bytes != TAPE_HANDSHAKE_KEY_CHARS || memcmp(key.data + 22, "==", 2) != 0)
        return 0;
    for (size_t i = 0; i < 22; i++) {
        char byte = key.data[i], letter = byte | 0x20;
        if (!(letter >= 'a' && letter <= 'z') && !(byte >= '0' && byte <= '9') && byte != '+' &&
            byte != '/')
            return 0;
    }
    return memchr(last, key.data[21], 4) != NULL;
}

int tape_upgrade_check(const struct tape_http_head *head)
{
    int keys = 0, versions = 0;
    if (!tape_http_has_token(head, "Upgrade", "websocket"))
        return 0;
    if (head->method.bytes != 3 || memcmp(head->method.data, "GET", 3) != 0)
        return -TAPE_UPGRADE_FAULT_METHOD;
    if (head->minor_version < 1)
        return -TAPE_UPGRADE_FAULT_HTTP;
    if (!tape_http_has_token(head, "Connection", "upgrade"))
        return -TAPE_UPGRADE_FAULT_CONNECTION;
    if (head->body_bytes > 0)
        return -TAPE_UPGRADE_FAULT_BODY;
    struct tape_slice version = tape_http_find(head, "Sec-WebSocket-Version", &versions);
    struct tape_slice key = tape_http_find(head, "Sec-WebSocket-Key", &keys);
    if (versions != 1)
        return -TAPE_UPGRADE_FAULT_VERSION_COUNT;
    if (!tape_http_is(version, "13"))
        return -TAPE_UPGRADE_FAULT_VERSION;
    return keys == 1 && key_is_sound(key) ? 1 : -TAPE_UPGRADE_FAULT_KEY;
}

void tape_upgrade_accept(const struct tape_http_head *head,
                         char accept[TAPE_HANDSHAKE_ACCEPT_CHARS + 1])
{
    unsigned char text[TAPE_HANDSHAKE_KEY_CHARS + sizeof TAPE_HANDSHAKE_GUID];
    unsigned char digest[SHA_DIGEST_LENGTH];
    struct tape_slice key = tape_http_find(head, "Sec-WebSocket-Key", NULL);
    memcpy(text, key.data, TAPE_HANDSHAKE_KEY_CHARS);
    memcpy(text + TAPE_HANDSHAKE_KEY_CHARS, TAPE_HANDSHAKE_GUID, sizeof TAPE_HANDSHAKE_GUID - 1);
    SHA1(text, sizeof text - 1, digest);
    EVP_EncodeBlock((unsigned char *)accept, digest, sizeof digest);
}

const char *tape_upgrade_fault_words(int fault)
{
    switch (fault) {
#define FAULT_WORDS(name, status, words)                                                           \
    case TAPE_UPGRADE_FAULT_##name:                                                                \
        return words;
        TAPE_UPGRADE_FAULT_TABLE(FAULT_WORDS)
#undef FAULT_WORDS
    }
    return "unknown fault";
}

int tape_upgrade_fault_status(int fault)
{
    switch (fault) {
#define FAULT_STATUS(name, status, words)                                                          \
    case TAPE_UPGRADE_FAULT_##name:                                                                \
        return status;
        TAPE_UPGRADE_FAULT_TABLE(FAULT_STATUS)
#undef FAULT_STATUS
    }
    return 400;
}
